"""Archives that are read: as NGC's, in every form of header, with other members beside them."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from megaport.checkpoint.archive import BadArchiveError
from megaport.checkpoint.selection import NoCheckpointError
from support.archives import CONTENT, DEFLATED, GOOD, MODEL, TRACKER, File, opened, zipped


def test_a_zip_of_ngcs_kind_is_read_in_place(tmp_path: Path) -> None:
    source = opened(zipped(TRACKER, GOOD), tmp_path)
    assert list(source) == ["mp_rank_00/model_optim_rng.pt"]
    assert bytes(source["mp_rank_00/model_optim_rng.pt"].view) == CONTENT
    assert (source.folder, source.ignored) == ("release/", ())
    assert not (tmp_path / "spool").exists()


def test_deflated_members_are_inflated_into_files_without_names(tmp_path: Path) -> None:
    source = opened(zipped(TRACKER, DEFLATED), tmp_path)
    assert bytes(source["mp_rank_00/model_optim_rng.pt"].view) == DEFLATED.content
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("seekable", [True, False])
def test_zips_of_pythons_own_writer_are_read(method: int, seekable: bool, tmp_path: Path) -> None:
    file = io.BytesIO()
    if not seekable:
        file.seekable = lambda: False  # type: ignore[method-assign]
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.mkdir("release")
        archive.writestr(MODEL.decode(), CONTENT)
        archive.comment = b"made by hand"
    assert bytes(opened(file.getvalue(), tmp_path)["mp_rank_00/model_optim_rng.pt"].view) == CONTENT


def test_nested_zips_are_not_opened(tmp_path: Path) -> None:
    inner = zipped(TRACKER, GOOD)
    with pytest.raises(NoCheckpointError, match="no file that Megatron"):
        opened(zipped(File(b"inner.zip", inner)), tmp_path)
    source = opened(zipped(TRACKER, GOOD, File(b"inner.zip", inner)), tmp_path)
    assert source.ignored[0] == "inner.zip"


def test_a_deflated_tracker_and_an_iteration_without_a_model(tmp_path: Path) -> None:
    tracker = File(TRACKER.name, b"release" + b" " * 100, method=8)
    assert len(opened(zipped(tracker, GOOD), tmp_path)) == 1
    with pytest.raises(NoCheckpointError, match="no file that carries a model"):
        opened(zipped(tracker, File(b"release/mp_rank_00/optim.pt", CONTENT)), tmp_path)


def test_extra_unexpected_members_ignored_and_reported(tmp_path: Path) -> None:
    extra = [
        File(b"README.txt", b"hello"),
        File(b"__MACOSX/release/._mp_rank_00", b"finder"),
        File(b"release/mp_rank_00/optim.pt", b"no weights"),
        File(b"huge.bin", method=99, size=1 << 31),
    ]
    source = opened(zipped(TRACKER, GOOD, *extra), tmp_path)
    assert list(source) == ["mp_rank_00/model_optim_rng.pt"]
    assert set(source.ignored) == {file.name.decode() for file in extra}


def test_an_extra_bomb_is_never_inflated(tmp_path: Path) -> None:
    bomb = File(b"bomb.bin", bytes(1 << 20), method=8, size=1 << 31)
    assert len(opened(zipped(TRACKER, GOOD, bomb), tmp_path)) == 1


def test_zip64_in_every_form_is_read(tmp_path: Path) -> None:
    extra = struct.pack("<2H2Q", 1, 16, len(CONTENT), len(CONTENT))
    large = File(MODEL, CONTENT, size=0xFFFFFFFF, compressed=0xFFFFFFFF, extra=extra)
    source = opened(zipped(TRACKER, large, zip64=True), tmp_path)
    assert bytes(source["mp_rank_00/model_optim_rng.pt"].view) == CONTENT
    descriptor = struct.pack("<4sI2Q", b"PK\x07\x08", zlib.crc32(CONTENT), *[len(CONTENT)] * 2)
    streamed = File(MODEL, CONTENT, flags=8, descriptor=descriptor)
    assert len(opened(zipped(streamed), tmp_path)) == 1
    other = struct.pack("<2H", 0x4246, 4) + b"ZZZZ"
    padded = File(MODEL, CONTENT, size=0xFFFFFFFF, compressed=0xFFFFFFFF, extra=other + extra)
    assert len(opened(zipped(TRACKER, padded, zip64=True), tmp_path)) == 1
    without = File(MODEL, CONTENT, size=0xFFFFFFFF, compressed=0xFFFFFFFF, extra=extra[:10])
    with pytest.raises(BadArchiveError, match="zip64"):
        opened(zipped(TRACKER, without), tmp_path)
