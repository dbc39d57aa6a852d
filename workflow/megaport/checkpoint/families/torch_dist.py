"""Megatron core's `torch_dist`, and `torch_dcp` and `fsdp_dtensor`: .metadata and .distcp files.

The first keeps args in common.pt, the others among the keys, which they put below `model.`; so does
NeMo 2.0, below `module.`.
"""

import re

from megaport.checkpoint.chunks import Whole
from megaport.checkpoint.contents import Contents
from megaport.checkpoint.distcp import read_index
from megaport.checkpoint.families.dist_family import one_named, parts_of_keys
from megaport.checkpoint.families.names import is_training_state
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.model import TORCH_DCP, TORCH_DIST
from megaport.checkpoint.stages import Parts

_PREFIX = re.compile(r"^(model\.|module\.)+")
_COMMON = ("args", "checkpoint_version", "iteration")
_ERAS = {
    TORCH_DIST: "2023 on: Megatron core, torch_dist",
    TORCH_DCP: "2025 on: Megatron core, torch_dcp or fsdp_dtensor",
}


def recognise(contents: Contents) -> str | None:
    """Why this is torch_dist, or None."""
    beside = _beside(contents)
    if not one_named(contents, ".metadata") or not beside:
        return None
    return f".metadata describes .distcp files, with {beside} beside it"


def recognise_dcp(contents: Contents) -> str | None:
    """Why this is torch_dcp or fsdp_dtensor, or None."""
    if not one_named(contents, ".metadata") or _beside(contents):
        return None
    return ".metadata describes .distcp files, with neither metadata.json nor common.pt"


def _beside(contents: Contents) -> str | None:
    return one_named(contents, "metadata.json") or one_named(contents, "common.pt")


def read(contents: Contents, findings: Findings) -> Parts:
    """All keys of the model, whatever they stand below, with their chunks."""
    name = one_named(contents, ".metadata") or ""
    index = read_index(contents, name)
    native: dict[str, str] = {}
    for key in index.shapes:
        short = _PREFIX.sub("", key)
        if is_training_state(key):
            continue
        if short in native:
            findings.report("twice under different names", key, native[short])
        native[short] = key
    common = one_named(contents, "common.pt")
    family = TORCH_DIST if _beside(contents) else TORCH_DCP

    def load(key: str) -> Whole:
        return index.load(native[key])

    return parts_of_keys(
        contents,
        findings,
        family=family,
        era=_ERAS[family],
        serialization="distcp",
        common=contents.state(common) if common else {key: index.read(key) for key in _COMMON},
        described=name,
        keys=native,
        load=load,
        ignored=index.shapes.keys() - native.values(),
        objects=[key for key in index.objects if common or key not in _COMMON],
    )
