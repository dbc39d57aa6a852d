"""The trees that `export` writes: every tensor placed where each Megatron keeps it."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from megaport.convert.pickle_writer import Leaf
from megaport.gpt2 import GPT2, POSITION
from megaport.table import HEAD, HEAD_COPY, WORD, Row

Form = Literal["ngc", "v3", "core"]

# Canonical module -> Megatron core's (formats.md); what is not here keeps its name.
CORE_MODULES = {
    "attention.query_key_value": "self_attention.linear_qkv",
    "attention.dense": "self_attention.linear_proj",
    "post_attention_layernorm": "pre_mlp_layernorm",
    "mlp.dense_h_to_4h": "mlp.linear_fc1",
    "mlp.dense_4h_to_h": "mlp.linear_fc2",
}


def model_tree(
    form: Form, make: Callable[[Row], Leaf], *, layers: int, tied: bool, stage: int, stages: int
) -> dict[str, Any]:
    """The entry `model` of pipeline stage `stage` of `stages`, which split `layers` evenly."""
    place = {"ngc": _ngc_place, "v3": _v3_place, "core": _core_place}[form]
    tree: dict[str, Any] = {}
    for name, row in _stage_rows(layers, stage, stages, tied=tied):
        *folders, leaf = place(name)
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = make(row)
    return tree | (_extra_states(tree, last=stage == stages - 1) if form == "core" else {})


def _stage_rows(layers: int, stage: int, stages: int, *, tied: bool) -> Iterator[tuple[str, Row]]:
    """The rows of a stage by canonical name, layers numbered from 0 within the stage."""
    each, last = layers // stages, stage == stages - 1
    if stage == 0:
        yield from ((row.megatron, row) for row in GPT2.first)
    for local in range(each):
        for row in GPT2.layer:
            yield row.at(local).megatron, row.at(stage * each + local)
    if last:
        yield from ((row.megatron, row) for row in GPT2.last)
    if last and not tied:
        yield HEAD, GPT2.head
    elif last and stages > 1:
        yield HEAD_COPY, GPT2.row(WORD)


def _ngc_place(name: str) -> tuple[str, ...]:
    """NGC's 345M, as Megatron-LM wrote until 2020."""
    return _legacy_place(name, "transformer")


def _v3_place(name: str) -> tuple[str, ...]:
    """Megatron-LM's own model since January 2021 (v2.5)."""
    return _legacy_place(name.replace(".attention.", ".self_attention."), "encoder")


def _legacy_place(name: str, body: str) -> tuple[str, ...]:
    module, _, kind = name.rpartition(".")
    if name in (WORD, POSITION):
        return ("language_model", "embedding", module, kind)
    if name == HEAD_COPY:
        return (module, kind)
    if name == HEAD:
        return ("language_model", module, kind)
    return ("language_model", body, name)


def _core_place(name: str) -> tuple[str, ...]:
    """Megatron core's GPTModel in the `torch` format, flat, from its local layer spec."""
    if name in (HEAD, HEAD_COPY):
        return (HEAD,)
    if name in (WORD, POSITION):
        return (f"embedding.{name}",)
    for module, core in CORE_MODULES.items():
        name = name.replace(f".{module}.", f".{core}.")
    return (f"decoder.{name}",)


def _extra_states(model: dict[str, Any], *, last: bool) -> dict[str, None]:
    """The `_extra_state` of None of core's linear layers, without which it refuses to load."""
    modules = [name.removesuffix("bias") for name in model if name.endswith(".bias")]
    linear = [f"{module}_extra_state" for module in modules if ".linear_" in module]
    return dict.fromkeys([*linear, *(["output_layer._extra_state"] if last else [])])
