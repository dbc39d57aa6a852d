"""A GPT-2 model directory as Megatron would hold it: the tensors of each rank's file, as trees."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from megaport.convert.torch_writer import Leaf
from megaport.convert.transforms import pieces
from megaport.convert.weights import UnreadableModelError, read_config, read_weights
from megaport.errors import MegaportError
from megaport.gpt2 import CORE, GPT2, POSITION, SINCE_2021, padded
from megaport.sizes import Sizes
from megaport.table import HEAD, HEAD_COPY, WORD, Row
from megaport.tensors import STORAGE, Array, Tensor

Form = Literal["ngc", "v3", "core"]
# What each form calls modules of a layer; what is not here keeps the table's name.
MODULES: dict[Form, dict[str, str]] = {
    "ngc": {},
    "v3": {module: name for name, module in SINCE_2021.items()},
    "core": {module: name for name, module in CORE.items()},
}
# Causal masks that transformers before 4.30 saved; they hold no weights.
MASKS = re.compile(r"transformer\.h\.\d+\.attn\.(bias|masked_bias)$")
NEEDED = (
    "vocab_size",
    "n_positions",
    "n_embd",
    "n_head",
    "n_layer",
    "activation_function",
    "layer_norm_epsilon",
)
# What GPT2Config may ask for and no Megatron computes, and the value that asks for nothing.
USUAL = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


class ExportError(MegaportError):
    """A model that the asked-for Megatron form cannot hold."""


@dataclass(frozen=True)
class Gpt2:
    """config.json and weights of a model directory; `tensors` by GPT-2 name, shapes checked."""

    config: dict[str, Any]
    sizes: Sizes
    layers: int
    tied: bool
    dtype: str
    tensors: dict[str, Tensor]

    def leaf(self, row: Row, rank: int, ranks: int, qkv_order: str) -> Leaf:
        """`row`'s tensor as tensor-parallel rank `rank` of `ranks` holds it, made when written.

        Rows that pad the vocabulary are zeros. Memory while written: one shard.
        """
        held = ranks if row.axis is not None else 1
        shape = row.shard_shape(self.sizes, held)

        def read() -> Array:
            tensor = self.tensors[row.target]
            shards = [np.broadcast_to(np.zeros((), STORAGE[tensor.dtype]), shape)] * held
            shards[rank % held] = shard = np.zeros(shape, STORAGE[tensor.dtype])
            found = pieces(row, shards, self.sizes, qkv_order)
            piece = found.pieces[rank % held]
            target = tensor.array.reshape((found.rows, *found.inner))
            piece.view[...] = target[(slice(piece.start, piece.stop), *piece.columns)]
            return shard

        return Leaf(self.dtype, shape, read)


def open_gpt2(model_dir: Path, *, ranks: int) -> Gpt2:
    """Read a directory that `save_pretrained` or `convert` wrote, to be split over `ranks`.

    Raises ExportError, naming every missing, extra or misshapen tensor, and UnreadableModelError.
    """
    config = _read_config(model_dir)
    sizes = _sizes(config, ranks)
    tied = config.get("tie_word_embeddings", True)
    tensors = _named(read_weights(model_dir), tied=tied)
    _check(tensors, GPT2.rows(config["n_layer"], tied=tied), sizes, model_dir)
    dtype = tensors["transformer.wte.weight"].dtype
    return Gpt2(config, sizes, config["n_layer"], tied, dtype, tensors)


def _read_config(model_dir: Path) -> dict[str, Any]:
    """config.json of a GPT-2. Raises ExportError for another model's."""
    config = read_config(model_dir)
    if config.get("model_type") != "gpt2":
        raise ExportError(
            str(model_dir),
            seen=f"a model of type {config.get('model_type')}",
            expected="a GPT-2: `export` knows no other architecture",
            remedy="Hand on the model directory as it is.",
        )
    if other := [key for key, usual in USUAL.items() if config.get(key, usual) != usual]:
        raise ExportError(
            str(model_dir / "config.json"),
            seen=", ".join(f"{key} {config[key]}" for key in other),
            expected="what every Megatron computes: the usual attention",
            remedy="Hand on the model directory as it is.",
        )
    if missing := [key for key in NEEDED if key not in config]:
        seen = KeyError(", ".join(missing))
        raise UnreadableModelError.of(model_dir / "config.json", seen, "the config.json of a GPT-2")
    return config


def _sizes(config: dict[str, Any], ranks: int) -> Sizes:
    """The sizes that a config.json says; the vocabulary padded as Megatron does."""
    return Sizes(
        padded_vocab_size=padded(config["vocab_size"], ranks),
        vocab_size=config["vocab_size"],
        n_positions=config["n_positions"],
        n_embd=config["n_embd"],
        n_inner=config.get("n_inner") or 4 * config["n_embd"],
        n_head=config["n_head"],
    )


def _named(tensors: dict[str, Tensor], *, tied: bool) -> dict[str, Tensor]:
    """GPT2LMHeadModel's names, where a bare GPT2Model saved its own without `transformer.`."""
    named = {
        name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}": tensor
        for name, tensor in tensors.items()
    }
    unneeded = [n for n in named if MASKS.match(n) or (tied and n == "lm_head.weight")]
    return {name: tensor for name, tensor in named.items() if name not in unneeded}


def _check(tensors: dict[str, Tensor], wanted: Iterable[Row], sizes: Sizes, where: Path) -> None:
    expected = {row.target: sizes.shape(row.target_shape) for row in wanted}
    wrong = [f"missing {name}" for name in expected if name not in tensors]
    wrong += [f"extra {name}" for name in tensors if name not in expected]
    wrong += [
        f"{name} of shape {list(tensors[name].shape)}, not {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    dtypes = {tensor.dtype for tensor in tensors.values()}
    wrong += [f"mixed dtypes {', '.join(sorted(dtypes))}"] if len(dtypes) > 1 else []
    if wrong:
        raise ExportError(
            str(where),
            seen="; ".join(wrong),
            expected="the tensors of a GPT2LMHeadModel as its config.json describes them",
            remedy="Export a complete GPT-2 model directory.",
        )


def model_tree(
    form: Form, make: Callable[[Row], Leaf], *, layers: int, tied: bool, stage: int, stages: int
) -> dict[str, Any]:
    """The entry `model` of pipeline stage `stage` of `stages`, which split `layers` evenly."""
    tree: dict[str, Any] = {}
    for name, row in _stage_rows(layers, stage, stages, tied=tied):
        *folders, leaf = _place(form, name)
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


def _place(form: Form, name: str) -> tuple[str, ...]:
    """Where a form keeps the tensor of a canonical name: Megatron core flat, others in folders."""
    native = name
    for module, called in MODULES[form].items():
        native = native.replace(f".{module}.", f".{called}.")
    module, _, kind = name.rpartition(".")
    if form == "core":
        if name in (HEAD, HEAD_COPY):
            return (HEAD,)
        return (f"embedding.{name}" if name in (WORD, POSITION) else f"decoder.{native}",)
    if name in (WORD, POSITION):
        return ("language_model", "embedding", module, kind)
    if name == HEAD_COPY:
        return (module, kind)
    if name == HEAD:
        return ("language_model", module, kind)
    return ("language_model", "transformer" if form == "ngc" else "encoder", native)


def _extra_states(model: dict[str, Any], *, last: bool) -> dict[str, None]:
    """The `_extra_state` of None of core's linear layers, without which it refuses to load."""
    modules = [name.removesuffix("bias") for name in model if name.endswith(".bias")]
    linear = [f"{module}_extra_state" for module in modules if ".linear_" in module]
    return dict.fromkeys([*linear, *(["output_layer._extra_state"] if last else [])])
