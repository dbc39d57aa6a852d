"""The trees that `export` writes: canonical names placed where each Megatron keeps them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from megaport.convert.pickle_writer import Leaf
from megaport.convert.table import HEAD, TABLE, Row, rows

Leaves = dict[str, Leaf]
MakeLeaf = Callable[[Row], Leaf]

WORDS, POSITIONS = "word_embeddings.weight", "position_embeddings.weight"
# Canonical module -> Megatron core's (formats.md); what is not here keeps its name.
CORE_MODULES = {
    "attention.query_key_value": "self_attention.linear_qkv",
    "attention.dense": "self_attention.linear_proj",
    "post_attention_layernorm": "pre_mlp_layernorm",
    "mlp.dense_h_to_4h": "mlp.linear_fc1",
    "mlp.dense_4h_to_h": "mlp.linear_fc2",
}


@dataclass(frozen=True)
class Stage:
    """Pipeline stage `index` of `count` of a model of `layers` layers, evenly split."""

    index: int
    count: int
    layers: int
    tied: bool

    @property
    def first(self) -> bool:
        return self.index == 0

    @property
    def last(self) -> bool:
        return self.index == self.count - 1

    def leaves(self, make: MakeLeaf) -> Leaves:
        """This stage's tensors by canonical name, layers numbered from 0 within the stage."""
        each = self.layers // self.count
        found = {WORDS: make(TABLE[0]), POSITIONS: make(TABLE[1])} if self.first else {}
        for local in range(each):
            for row in (row for row in TABLE if row.layered):
                name = row.at(local).megatron
                found[name] = make(row.at(self.index * each + local))
        if self.last:
            ends = [row for row in TABLE if row.megatron.startswith("final_layernorm")]
            found |= {row.megatron: make(row) for row in ends}
        return found

    def head(self, make: MakeLeaf) -> Leaf | None:
        """The last stage's own copy of the output weights: the head, or the tied embedding."""
        if not self.last or (self.tied and self.first):
            return None
        return make(TABLE[0] if self.tied else HEAD)


def ngc_tree(layers: int, make: MakeLeaf) -> dict[str, Any]:
    """NGC's 345M: `model.language_model.{embedding, transformer}`, no args and no version."""
    leaves = {row.megatron: make(row) for row in rows(layers, tied=True)}
    return {"model": {"language_model": _language_model(leaves, "transformer")}}


def v3_model(stage: Stage, make: MakeLeaf) -> dict[str, Any]:
    """Megatron-LM's own model since January 2021 (v2.5): `encoder`, `self_attention`."""
    renamed = {
        name.replace(".attention.", ".self_attention."): leaf
        for name, leaf in stage.leaves(make).items()
    }
    model: dict[str, Any] = {"language_model": _language_model(renamed, "encoder")}
    head = stage.head(make)
    if head is not None and stage.tied:
        model["word_embeddings_for_head"] = {"weight": head}
    elif head is not None:
        model["language_model"]["output_layer"] = {"weight": head}
    return model


def core_model(stage: Stage, make: MakeLeaf) -> dict[str, Any]:
    """Megatron core's GPTModel in the `torch` format, flat, from its local layer spec.

    Its linear layers have an `_extra_state` of None, without which it refuses to load.
    """
    model: dict[str, Any] = {}
    for name, leaf in stage.leaves(make).items():
        core = _core_name(name)
        model[core] = leaf
        if ".linear_" in core and core.endswith(".bias"):
            model[core.removesuffix("bias") + "_extra_state"] = None
    head = stage.head(make)
    if head is not None:
        model["output_layer.weight"] = head
    if stage.last:
        model["output_layer._extra_state"] = None
    return model


def _core_name(name: str) -> str:
    if name in (WORDS, POSITIONS):
        return f"embedding.{name}"
    for module, core in CORE_MODULES.items():
        name = name.replace(f".{module}.", f".{core}.")
    return f"decoder.{name}"


def _language_model(leaves: Mapping[str, Leaf], body: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    if WORDS in leaves:
        tree["embedding"] = {
            "word_embeddings": {"weight": leaves[WORDS]},
            "position_embeddings": {"weight": leaves[POSITIONS]},
        }
    tree[body] = {name: leaf for name, leaf in leaves.items() if name not in (WORDS, POSITIONS)}
    return tree
