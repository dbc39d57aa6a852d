"""Megatron core's `torch_dcp` and `fsdp_dtensor`: .metadata and .distcp only, args inside."""

import re

from megaport.checkpoint.chunks import Whole
from megaport.checkpoint.contents import Contents
from megaport.checkpoint.distcp import read_index
from megaport.checkpoint.families.dist_family import (
    is_training_state,
    one_named,
    parts_of_keys,
)
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.model import TORCH_DCP
from megaport.checkpoint.stages import Parts

_PREFIX = re.compile(r"^model\.(?:module\.)*")
_COMMON = ("args", "checkpoint_version", "iteration")


def recognise(contents: Contents) -> str | None:
    """Why this is torch_dcp or fsdp_dtensor, or None."""
    if not one_named(contents, ".metadata"):
        return None
    return ".metadata describes .distcp files, with neither metadata.json nor common.pt"


def read(contents: Contents, findings: Findings) -> Parts:
    """All keys under `model.` (or `model.module.`), with their chunks."""
    name = one_named(contents, ".metadata") or ""
    index = read_index(contents, name)
    native: dict[str, str] = {}
    for key in index.shapes:
        name_of_core = _PREFIX.sub("", key)
        if is_training_state(key):
            continue
        if name_of_core in native:
            findings.report("twice under different names", key, native[name_of_core])
        native[name_of_core] = key

    def load(key: str) -> Whole:
        return index.load(native[key])

    return parts_of_keys(
        contents,
        findings,
        family=TORCH_DCP,
        era="2025 on: Megatron core, torch_dcp or fsdp_dtensor",
        serialization="distcp",
        common={key: index.read(key) for key in _COMMON},
        described=name,
        keys=native,
        load=load,
        ignored=(index.shapes.keys() - native.values()) | (set(index.objects) - set(_COMMON)),
    )
