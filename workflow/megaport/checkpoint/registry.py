"""Every family of checkpoints there is a reader for, in the order they are asked."""

from collections.abc import Callable
from dataclasses import dataclass

from megaport.checkpoint.contents import Contents, UnknownLayoutError
from megaport.checkpoint.families import (
    deepspeed_layers,
    nemo,
    rank_files,
    torch_dist,
    zarr_arrays,
)
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.model import (
    CORE_RANKS,
    DEEPSPEED_LAYERS,
    LEGACY_RANKS,
    NEMO,
    TORCH_DCP,
    TORCH_DIST,
    ZARR,
)
from megaport.checkpoint.stages import Parts


@dataclass(frozen=True)
class Family:
    """`recognise` gives a reason or None; `read` gives the parts of what was recognised."""

    name: str
    recognise: Callable[[Contents], str | None]
    read: Callable[[Contents, Findings], Parts]


# By what is cheapest to tell and most particular; torch_dist comes before torch_dcp, which is
# the same without common.pt, and core before legacy, which would know its embeddings.
FAMILIES = (
    Family(DEEPSPEED_LAYERS, deepspeed_layers.recognise, deepspeed_layers.read),
    Family(ZARR, zarr_arrays.recognise, zarr_arrays.read),
    Family(TORCH_DIST, torch_dist.recognise, torch_dist.read),
    Family(TORCH_DCP, torch_dist.recognise_dcp, torch_dist.read),
    Family(NEMO, nemo.recognise, nemo.read),
    Family(CORE_RANKS, rank_files.recognise_core, rank_files.read_core),
    Family(LEGACY_RANKS, rank_files.recognise_legacy, rank_files.read_legacy),
)


def recognise(contents: Contents) -> tuple[Family, str]:
    """The first family that knows these files, and why; `UnknownLayoutError` if none does."""
    for family in FAMILIES:
        reason = family.recognise(contents)
        if reason:
            return family, reason
    names = sorted(contents.files)
    raise UnknownLayoutError(
        contents.source,
        seen=f"{len(names)} files, such as {', '.join(names[:5]) or 'none'}, without tensors "
        "under any name that Megatron gave them",
        expected=f"a checkpoint of one of {', '.join(family.name for family in FAMILIES)}",
        remedy="Point at a Megatron checkpoint: its folder, its zip or its rank file.",
    )
