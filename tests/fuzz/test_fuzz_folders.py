"""Mutated files within whole checkpoints: indexes, chunks, args and rank files of every family."""

import json
from pathlib import Path

import pytest

from fuzz.harness import bounded
from fuzz.mutate import mutated
from megaport.checkpoint.inspect import inspect
from megaport.errors import MegaportError
from support.megatron_files import write_checkpoint
from support.megatron_model import Model

FEW = 24
LONG = pytest.param(4000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])
FILES = [
    ("torch_dist", ".metadata"),
    ("torch_dist", "common.pt"),
    ("torch_dist", "*.distcp"),
    ("torch_dcp", ".metadata"),
    ("zarr", ".zarray"),
    ("core", "model_optim_rng.pt"),
    ("encoder", "model_optim_rng.pt"),
    ("bigscience", "layer_0[13]*"),
]


def fuzz(layout: str, pattern: str, count: int, folder: Path) -> int:
    """Inspect `count` checkpoints with one file of them mutated; how many were refused."""
    path = write_checkpoint(folder / "c", Model(), layout=layout)
    files = {file: file.read_bytes() for file in sorted(path.rglob(pattern))}
    refused = 0
    for number in range(count):
        file = list(files)[number % len(files)]
        file.write_bytes(mutated(number, files[file]))
        size = sum(len(content) for content in files.values())
        with bounded(size, f"{layout} {pattern} {number}"):
            try:
                found = inspect(path, {}, spool=folder / "spool")
            except MegaportError as error:
                refused += 1
                assert error.remedy
                assert str(error).replace("\n", "").isprintable()
            else:
                json.dumps(found, ensure_ascii=False).encode("utf-8")
        file.write_bytes(files[file])
    return refused


@pytest.mark.parametrize("count", [FEW, LONG])
@pytest.mark.parametrize(("layout", "pattern"), FILES)
def test_mutated_files_of_a_checkpoint_are_read_or_refused_by_name(
    layout, pattern, count, tmp_path
):
    assert fuzz(layout, pattern, count, tmp_path) > count // 3
