"""What a checkpoint is once read, whatever family it came from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from megaport.table import HEAD, Decision, Row, Table, leaves_of
from megaport.tensors import Tensor

# Families whose model is Megatron core's: their names, MLP and args mean what core's mean.
CORE_RANKS, TORCH_DIST, ZARR, TORCH_DCP = "core_ranks", "torch_dist", "zarr", "torch_dcp"
LEGACY_RANKS, DEEPSPEED_LAYERS, NEMO = "legacy_ranks", "deepspeed_layers", "nemo"
CORE_FAMILIES = frozenset({CORE_RANKS, TORCH_DIST, ZARR, TORCH_DCP})

# The orders in which query, key and value rows of one rank were ever stored (formats.md):
# np is the rank's heads, hn the size of a head.
QKV_ORDERS = ("3,np,hn", "np,hn,3", "np,3,hn")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of the architecture `table`: every tensor accounted for, nothing copied.

    `tensors` maps a canonical name (`table`'s; layers global, from 0) to its shards in
    tensor-parallel rank order: joined on the row's axis they are the tensor. One shard means not
    parallel, or replicated and found bit-equal. `version` is None where neither the file nor the
    config states one; `qkv_order` is one of `QKV_ORDERS`. `serialization` is legacy, zip, distcp or
    zarr. `args` are the training arguments as JSON data.
    """

    table: Table
    family: str
    era: str
    serialization: str
    tensor_parallel: int
    pipeline_parallel: int
    virtual_pipeline: int
    version: float | None
    qkv_order: str
    args: Mapping[str, Any] | None
    iteration: int | None
    layers: int
    tensors: Mapping[str, tuple[Tensor, ...]]
    ignored: tuple[str, ...]
    decisions: tuple[Decision, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """What the checkpoint holds and what becomes of it, in the order of the forward pass."""
        tied, leaves = HEAD not in self.tensors, leaves_of(self.tensors)
        return tuple(self.table.rows(self.layers, tied=tied, leaves=leaves))


def joined_shape(table: Table, name: str, shards: tuple[Tensor, ...]) -> tuple[int, ...]:
    """The shape of the shards put together along the axis that tensor parallelism cuts."""
    axis = table.row(name).axis
    shape = list(shards[0].shape)
    if axis is not None and axis < len(shape):
        shape[axis] = sum(shard.shape[axis] for shard in shards if axis < len(shard.shape))
    return tuple(shape)
