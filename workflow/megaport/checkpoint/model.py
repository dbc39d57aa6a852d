"""What a checkpoint is: as a family hands it over, and once every part of it was checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from megaport.errors import MegaportError
from megaport.table import HEAD, Decision, Row, Table, leaves_of, split_layer
from megaport.tensors import Tensor

# Families whose model is Megatron core's: their names, MLP and args mean what core's mean.
CORE_RANKS, TORCH_DIST, ZARR, TORCH_DCP = "core_ranks", "torch_dist", "zarr", "torch_dcp"
LEGACY_RANKS, DEEPSPEED_LAYERS, NEMO = "legacy_ranks", "deepspeed_layers", "nemo"
FAMILIES = (DEEPSPEED_LAYERS, ZARR, TORCH_DIST, TORCH_DCP, NEMO, CORE_RANKS, LEGACY_RANKS)
CORE_FAMILIES = frozenset({CORE_RANKS, TORCH_DIST, ZARR, TORCH_DCP})

# The orders in which query, key and value rows of one rank were ever stored (formats.md):
# np is the rank's heads, hn the size of a head.
QKV_ORDERS = ("3,np,hn", "np,hn,3", "np,3,hn")
Shards = tuple[Tensor, ...]


class CheckpointMismatchError(MegaportError):
    """Tensors missing, extra, of a wrong shape or dtype, or unlike between ranks: all of them."""


@dataclass
class Findings:
    """Collects findings about the checkpoint called `source`, then raises them together."""

    source: str
    found: list[str] = field(default_factory=list)

    def report(self, kind: str, name: str, detail: str = "") -> None:
        """Note that `name` is `kind` (missing, extra, wrong shape, ...) with what was seen."""
        self.found.append(f"{kind}: {name}" + (f" ({detail})" if detail else ""))

    def settle(self) -> None:
        """Raise `CheckpointMismatchError` with every finding in order, if there is any."""
        if self.found:
            raise CheckpointMismatchError(
                self.source,
                seen="\n  " + "\n  ".join(self.found) + "\n",
                expected="the files of one save of one model, each in its place",
                remedy="Get the whole checkpoint again, or use one that was saved complete.",
            )


@dataclass(frozen=True)
class Stage:
    """One pipeline stage, called `source`: canonical names, layers counted from its own 0.

    `unknown` holds the names that the table does not know; neither is checked.
    """

    source: str
    tensors: Mapping[str, Shards]
    unknown: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def layers(self) -> set[int]:
        places = (split_layer(name) for name in self.tensors)
        return {place[0] for place in places if place}


@dataclass(frozen=True)
class Parts:
    """A whole checkpoint as a family read it: `stages` in the order the layers run."""

    family: Decision
    era: str
    serialization: str
    table: Table
    stages: tuple[Stage, ...]
    tensor_parallel: int
    pipeline_parallel: int
    args: Mapping[str, Any] | None
    stated_version: Any
    stated_iteration: Any
    since_2021: bool = True  # what the tensors' names say
    virtual_pipeline: int = 1
    ignored: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()

    @property
    def iteration(self) -> int | None:
        """The iteration, where what is stated of it is a number."""
        return self.stated_iteration if type(self.stated_iteration) is int else None


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
    tensors: Mapping[str, Shards]
    ignored: tuple[str, ...]
    decisions: tuple[Decision, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """What the checkpoint holds and what becomes of it, in the order of the forward pass."""
        tied, leaves = HEAD not in self.tensors, leaves_of(self.tensors)
        return tuple(self.table.rows(self.layers, tied=tied, leaves=leaves))


def joined_shape(table: Table, name: str, shards: Shards) -> tuple[int, ...]:
    """The shape of the shards put together along the axis that tensor parallelism cuts."""
    axis = table.row(name).axis
    shape = list(shards[0].shape)
    if axis is not None and axis < len(shape):
        shape[axis] = sum(shard.shape[axis] for shard in shards if axis < len(shard.shape))
    return tuple(shape)
