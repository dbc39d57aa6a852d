"""The file's bytes: those of the library, whatever chunks they came in."""

import errno
import hashlib
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

from megaport.convert import weights
from megaport.convert.weights import (
    TensorInfo,
    UnreadableModelError,
    read_safetensors,
    write_safetensors,
)
from support.subjects import convert, small


@settings(max_examples=40, deadline=None)
@given(
    shapes=st.dictionaries(
        st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=9),
        st.lists(st.integers(1, 5), max_size=3).map(tuple),
        min_size=1,
        max_size=6,
    )
)
def test_the_bytes_are_the_librarys(
    shapes: dict[str, tuple[int, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(0)
    arrays = {name: rng.random(shapes[name]).astype(np.float16) for name in sorted(shapes)}
    entries = [TensorInfo(name, "F16", array.shape) for name, array in arrays.items()]
    path = tmp_path_factory.mktemp("written") / "file"
    digest = write_safetensors(path, entries, (array.reshape(-1) for array in arrays.values()))
    expected = save(arrays, metadata={"format": "pt"})
    assert path.read_bytes() == expected
    assert digest == hashlib.sha256(expected).hexdigest()


def test_hazard_a_disk_that_fails_once_while_tensors_are_still_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel reports a failed write to one fsync only: whichever it is must be heard."""
    calls = []

    def fail_once(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(weights, "SYNC_BYTES", 1)
    monkeypatch.setattr(weights.os, "fsync", fail_once)
    chunks = (np.zeros(8, np.float16) for _ in range(50) if time.sleep(0.002) is None)
    with pytest.raises(OSError, match="Input/output error"):
        write_safetensors(tmp_path / "file", [TensorInfo("a", "F16", (400,))], chunks)


def test_our_reader_sees_what_the_library_sees(tmp_path: Path) -> None:
    convert(small(dtype="F32"), tmp_path)
    ours = read_safetensors(tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        assert sorted(file.keys()) == list(ours)
        for name in file.keys():  # noqa: SIM118 - not a mapping
            np.testing.assert_array_equal(file.get_tensor(name), ours[name].array)


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_damaged_file_is_refused_by_our_reader(tmp_path: Path, cut: int) -> None:
    convert(small(), tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:cut])
    with pytest.raises(UnreadableModelError, match="cut"):
        read_safetensors(tmp_path / "cut")
