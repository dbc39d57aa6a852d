"""Small files that ask for much: the cost of reading follows the file, whatever it says."""

import pickle as python_pickle
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.open import open_checkpoint
from megaport.checkpoint.records import PickleTooLargeError
from megaport.checkpoint.torchfile import read_torch
from megaport.errors import MegaportError
from support.edits import at
from support.megatron_files import write_checkpoint
from support.megatron_model import Model
from support.reading import refused
from support.torchfiles import region, saved

SECONDS, MEBIBYTES = 4.0, 300


@contextmanager
def bounded() -> Iterator[None]:
    """CPU time of the body, and memory that the process grew by, within what a person waits for."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEBIBYTES << 10


@pytest.mark.parametrize("serialization", ["zip", "legacy"])
def test_shared_parts_within_reason_are_read(serialization: str) -> None:
    part = {"a": [1, 2, 3], "b": torch.ones(3)}
    read = read_torch(region(saved({str(n): part for n in range(50)}, serialization)))
    assert read["0"] is read["49"]


def test_every_tensor_a_view_of_one_storage_is_refused(tmp_path: Path) -> None:
    """A model of 8 MB out of a file of 200 kB."""
    flat = torch.zeros(1 << 14)

    def share(_: str, state: dict[str, Any]) -> None:
        for key, value in state["model"].items():
            if value is not None:
                state["model"][key] = flat[: value.numel()].view(value.shape)

    model = Model(layers=40, hidden=64, inner=256)
    with bounded():
        message = refused(tmp_path, model, PickleTooLargeError, layout="core", edit=share)
    assert "share storages" in message


@pytest.mark.parametrize("layout", ["torch_dist", "torch_dcp"])
def test_chunks_that_share_one_region_are_refused(layout: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout=layout)
    index = path / "iter_0000007" / ".metadata"
    metadata = python_pickle.loads(index.read_bytes())
    first = next(iter(metadata.storage_data.values()))
    metadata.storage_data = dict.fromkeys(metadata.storage_data, first)
    index.write_bytes(python_pickle.dumps(metadata))
    with bounded(), pytest.raises(MegaportError, match="that hold another"):
        open_checkpoint(path, spool=tmp_path)


def test_millions_of_layers_of_one_element_are_refused(tmp_path: Path) -> None:
    chunk = ((0, 0), torch.zeros(5_000_000, 1, dtype=torch.uint8))
    stack = at("entries", "decoder.layers.mlp.linear_fc2.bias", to=[chunk])
    with bounded():
        message = refused(tmp_path, error=MegaportError, layout="torch_dist", edit=stack)
    assert "5000000" in message
