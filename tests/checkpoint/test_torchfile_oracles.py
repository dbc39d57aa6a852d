"""Every file that real Megatron code wrote, against torch.load(weights_only=True)."""

from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.pickle import read_pickle
from megaport.checkpoint.records import Record
from megaport.checkpoint.regions import map_file
from megaport.checkpoint.torchfile import read_torch
from support.effects import no_effect
from support.oracles import ORACLES
from support.reading import same


class StandIn:
    """What torch makes of classes that only Megatron has; compared by nobody."""

    def __init__(self, *args: Any) -> None:
        self.state = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


# torch can list the classes that a zip names, not those of a legacy file.
LEGACY_CLASSES = [
    *("argparse.Namespace", "numpy.ndarray", "numpy.dtype"),
    *("numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct"),
]


@pytest.mark.oracle
@pytest.mark.parametrize(
    "path", sorted(ORACLES.rglob("*.pt")), ids=lambda path: str(path.relative_to(ORACLES))
)
def test_real_files_read_as_torch_reads_them(path) -> None:
    zipped = path.read_bytes()[:2] == b"PK"
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipped else None
    with torch.serialization.safe_globals([(StandIn, name) for name in names or LEGACY_CLASSES]):
        theirs = torch.load(path, weights_only=True)
    compare(read_torch(map_file(path)), theirs)


def compare(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, torch.Tensor):
        assert same(ours, theirs)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            compare(ours[key], value)
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for mine, value in zip(ours, theirs, strict=True):
            compare(mine, value)
    elif isinstance(theirs, StandIn):
        assert isinstance(ours, Record)
        compare(ours.state, theirs.state)
    elif isinstance(theirs, str | int | float | bytes | None):
        assert ours == theirs
    else:
        assert isinstance(ours, Record)


@pytest.mark.oracle
@pytest.mark.parametrize("path", sorted(ORACLES.rglob(".metadata")), ids=lambda p: p.parts[-3])
def test_no_false_alarm_on_the_metadata_of_distributed_checkpoints(path: Path) -> None:
    mapped = map_file(path)
    with no_effect():
        found = read_pickle(mapped)
    assert found.state["state_dict_metadata"]
