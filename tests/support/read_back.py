"""Whole tensors from an opened checkpoint, joined independently of the converter."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from megaport.checkpoint.model import Checkpoint
from megaport.checkpoint.open import open_checkpoint
from megaport.gpt2 import QKV
from megaport.tensors import Tensor
from support.megatron_files import write_checkpoint
from support.megatron_model import DTYPES, Model


def as_torch(tensor: Tensor) -> torch.Tensor:
    """A copy, bit for bit, in torch's dtype."""
    array = np.ascontiguousarray(tensor.array)
    dtype = DTYPES[tensor.dtype]
    return torch.frombuffer(bytearray(array.tobytes()), dtype=dtype).reshape(array.shape)


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


def read_whole(folder: Path, model: Model, **form: Any) -> Checkpoint:
    """What is read of `model`, written under `folder` in this form: all of it, bit for bit."""
    path = write_checkpoint(folder / "c", model, **form)
    checkpoint = open_checkpoint(path, spool=folder)
    assert_holds(checkpoint, model)
    return checkpoint


def assert_holds(checkpoint: Checkpoint, model: Model) -> None:
    """Every tensor of `model`, no other, bit for bit."""
    assert set(checkpoint.tensors) == set(model.tensors)
    for name, tensor in model.tensors.items():
        assert torch.equal(whole(checkpoint, name, model.heads), tensor), name
