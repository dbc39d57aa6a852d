"""What is read of a checkpoint, joined independently of the converter, or how it is refused."""

from collections.abc import Callable, Mapping
from fnmatch import filter as matching
from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.model import Checkpoint, CheckpointMismatchError
from megaport.checkpoint.open import open_checkpoint
from megaport.errors import MegaportError
from megaport.gpt2 import QKV
from megaport.tensors import Tensor
from support.megatron_files import LAYOUTS, write_checkpoint
from support.megatron_model import Model, as_torch, bits

# Layouts whose layers are stacked hold a tensor of all layers or of none.
UNSTACKED = [name for name in LAYOUTS if name not in ("torch_dist", "zarr")]
TINY = Model()


def same(ours: Any, theirs: torch.Tensor) -> bool:
    """Equal shape, dtype and bits."""
    return isinstance(ours, Tensor) and (
        as_torch(ours).dtype == theirs.dtype and torch.equal(bits(as_torch(ours)), bits(theirs))
    )


def whole(checkpoint: Checkpoint, name: str, heads: int) -> torch.Tensor:
    """The tensor `name` as `Model.tensors` has it: QKV rows in the order [3, heads, head size]."""
    shards = [as_torch(shard) for shard in checkpoint.tensors[name]]
    if QKV in name:
        return torch.cat([_split(s, checkpoint, heads // len(shards)) for s in shards], 1).reshape(
            -1, *shards[0].shape[1:]
        )
    axis = checkpoint.table.row(name).axis
    return shards[0] if axis is None else torch.cat(shards, axis)


def _split(shard: torch.Tensor, checkpoint: Checkpoint, heads: int) -> torch.Tensor:
    sizes = {"3": 3, "np": heads, "hn": shard.shape[0] // 3 // heads}
    axes = checkpoint.qkv_order.split(",")
    parted = shard.reshape(*(sizes[axis] for axis in axes), *shard.shape[1:])
    order = [axes.index(axis) for axis in ("3", "np", "hn")]
    return parted.permute(*order, *range(3, parted.dim()))


def opened(
    folder: Path, model: Model = TINY, change: Callable[[Path], None] | None = None, **form: Any
) -> Checkpoint:
    """What is read of `model`, written under `folder` in this form, after a change of its files."""
    path = write_checkpoint(folder / "c", model, **form)
    if change:
        change(path)
    return open_checkpoint(path, spool=folder)


def read_whole(folder: Path, model: Model = TINY, **form: Any) -> Checkpoint:
    """As `opened`, and it is all of `model`, bit for bit."""
    checkpoint = opened(folder, model, **form)
    assert_holds(checkpoint, model)
    return checkpoint


def assert_holds(checkpoint: Checkpoint, model: Model) -> None:
    """Every tensor of `model`, no other, bit for bit."""
    assert set(checkpoint.tensors) == set(model.tensors)
    for name, tensor in model.tensors.items():
        assert torch.equal(whole(checkpoint, name, model.heads), tensor), name


def refused(
    folder: Path,
    model: Model = TINY,
    error: type[MegaportError] = CheckpointMismatchError,
    **form: Any,
) -> str:
    """The error with which `model`, written under `folder` in this form, is refused."""
    with pytest.raises(error) as caught:
        opened(folder, model, **form)
    return str(caught.value)


def changed(tensors: Mapping[str, torch.Tensor | None]) -> Model:
    """A model of three layers whose tensors of these canonical names are replaced or, by None,
    removed; in a name `*` stands for anything."""
    model = Model(layers=3)
    held = dict(model.tensors)
    for pattern, tensor in tensors.items():
        for name in matching(held, pattern):
            held[name] = tensor
    object.__setattr__(model, "tensors", {n: t for n, t in held.items() if t is not None})
    return model
