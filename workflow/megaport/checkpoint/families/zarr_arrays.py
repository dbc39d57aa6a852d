"""Megatron core's `zarr` format: a folder with .zarray a key, and common.pt."""

from megaport.checkpoint.chunks import Whole
from megaport.checkpoint.contents import Contents
from megaport.checkpoint.families.dist_family import (
    one_named,
    parts_of_keys,
)
from megaport.checkpoint.families.names import is_training_state
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.model import ZARR
from megaport.checkpoint.stages import Parts
from megaport.checkpoint.zarr import read_array


def recognise(contents: Contents) -> str | None:
    """Why this is zarr, or None."""
    count = len(_described(contents))
    return f"{count} folders hold a .zarray" if count else None


def read(contents: Contents, findings: Findings) -> Parts:
    """All keys of the model, with their chunks."""
    keys = {name.split("/")[-2]: name for name in _described(contents)}
    ignored = {key for key in keys if is_training_state(key)}
    arrays = {
        key: read_array(name, contents.files) for key, name in keys.items() if key not in ignored
    }
    common = one_named(contents, "common.pt")

    def load(key: str) -> Whole:
        return arrays[key].load(contents)

    return parts_of_keys(
        contents,
        findings,
        family=ZARR,
        era="2023 to 2024 (core 0.3 to 0.8): Megatron core, zarr",
        serialization="zarr",
        common=contents.state(common) if common else {},
        described=contents.source,
        keys=arrays,
        load=load,
        ignored=ignored,
    )


def _described(contents: Contents) -> list[str]:
    return sorted(name for name in contents.files if name.endswith("/.zarray"))
