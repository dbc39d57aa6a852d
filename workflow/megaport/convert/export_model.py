"""A GPT-2 model directory seen as Megatron would hold it: one leaf a tensor and rank."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megaport.convert.errors import ExportError, UnreadableModelError
from megaport.convert.pickle_writer import Leaf
from megaport.convert.transforms import pieces
from megaport.convert.weights import read_config, read_weights
from megaport.gpt2 import GPT2, sizes_of
from megaport.sizes import Sizes
from megaport.table import Row
from megaport.tensors import STORAGE, Array, Tensor

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

        def read() -> Iterator[Array]:
            tensor = self.tensors[row.target]
            shards = [np.broadcast_to(np.zeros((), STORAGE[tensor.dtype]), shape)] * held
            shards[rank % held] = shard = np.zeros(shape, STORAGE[tensor.dtype])
            found = pieces(row, shards, self.sizes, qkv_order)
            piece = found.pieces[rank % held]
            target = tensor.array.reshape((found.rows, *found.inner))
            piece.view[...] = target[(slice(piece.start, piece.stop), *piece.columns)]
            yield shard

        return Leaf(self.dtype, shape, read)


def open_gpt2(model_dir: Path, *, ranks: int) -> Gpt2:
    """Read a directory that `save_pretrained` or `convert` wrote, to be split over `ranks`.

    The vocabulary is padded to a multiple of 128 x ranks, as Megatron's default does.
    Raises ExportError, naming every missing, extra or misshapen tensor, and UnreadableModelError.
    """
    config = _read_config(model_dir)
    sizes = sizes_of(config, ranks)
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
    if missing := [key for key in NEEDED if key not in config]:
        seen = KeyError(", ".join(missing))
        raise UnreadableModelError.of(model_dir / "config.json", seen, "the config.json of a GPT-2")
    return config


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
