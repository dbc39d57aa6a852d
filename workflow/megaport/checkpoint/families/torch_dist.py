"""Megatron core's `torch_dist`: metadata.json, .metadata, .distcp files and common.pt."""

from megaport.checkpoint.contents import Contents
from megaport.checkpoint.distcp import read_index
from megaport.checkpoint.families.dist_family import (
    is_training_state,
    one_named,
    parts_of_keys,
)
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.model import TORCH_DIST
from megaport.checkpoint.stages import Parts


def recognise(contents: Contents) -> str | None:
    """Why this is torch_dist, or None."""
    beside = one_named(contents, "metadata.json") or one_named(contents, "common.pt")
    if not one_named(contents, ".metadata") or not beside:
        return None
    return f".metadata describes .distcp files, with {beside} beside it"


def read(contents: Contents, findings: Findings) -> Parts:
    """All keys of the model, with their chunks."""
    name = one_named(contents, ".metadata") or ""
    index = read_index(contents, name)
    common = one_named(contents, "common.pt")
    keys = [key for key in index.shapes if not is_training_state(key)]
    return parts_of_keys(
        contents,
        findings,
        family=TORCH_DIST,
        era="2023 on: Megatron core, torch_dist",
        serialization="distcp",
        common=contents.state(common) if common else {},
        described=name,
        keys=keys,
        load=index.load,
        ignored=(index.shapes.keys() - set(keys)) | set(index.objects),
    )
