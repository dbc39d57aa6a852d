"""Tars, such as NeMo's `.nemo`: read in place, and refused where extraction would do harm."""

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from megaport.checkpoint.archive import BadArchiveError
from megaport.checkpoint.files import digest_files, open_files
from megaport.checkpoint.selection import NoCheckpointError
from megaport.checkpoint.tar import read_tar
from support.archives import tarred
from support.torchfiles import region

CONTENT = b"\x80weights" * 100
FACTS = b"num_layers: 2\n"
FILES = {"model_config.yaml": FACTS, "model_weights.ckpt": CONTENT}


def made(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("name", ["model.nemo", "model.tar"])
def test_a_tar_is_read_in_place(form: int, name: str, tmp_path: Path) -> None:
    data = tarred(FILES, made("./a_merges.txt"), made("./notes.txt"), form=form, mtime=1)
    (tmp_path / name).write_bytes(data)
    files = open_files(tmp_path / name, spool=tmp_path / "spool")
    assert {name: bytes(part.view) for name, part in files.items()} == {
        "model_weights.ckpt": CONTENT
    }
    assert bytes(files.facts["model_config.yaml"].view) == FACTS
    assert list(files.facts) == ["a_merges.txt", "model_config.yaml"]
    assert files.ignored == ("notes.txt",)
    assert not (tmp_path / "spool").exists()


def test_a_tar_its_folder_and_a_zip_of_it_have_one_digest(tmp_path: Path) -> None:
    (tmp_path / "model.nemo").write_bytes(tarred(FILES))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/model_config.yaml").write_bytes(FACTS)
    (tmp_path / "folder/model_weights.ckpt").write_bytes(CONTENT)
    zipped = shutil.make_archive(str(tmp_path / "copy"), "zip", tmp_path / "folder")
    expected = digest_files(tmp_path / "model.nemo", spool=tmp_path)
    assert sorted(expected) == ["model_config.yaml", "model_weights.ckpt"]
    for path in (tmp_path / "folder", Path(zipped)):
        assert digest_files(path, spool=tmp_path) == expected


def test_extended_headers_with_names_beyond_ascii_are_read() -> None:
    long = "folder/" * 30 + "é"
    assert set(read_tar(region(tarred(FILES, made(long))))) >= {long, "model_weights.ckpt"}


REFUSED: dict[str, tarfile.TarInfo] = {
    "link": made("a", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": made("a", tarfile.LNKTYPE, "model_weights.ckpt"),
    "device": made("a", tarfile.CHRTYPE),
    "pipe": made("a", tarfile.FIFOTYPE),
    "sparse": made("a", tarfile.GNUTYPE_SPARSE),
    "absolute": made("/etc/passwd"),
    "above": made("../evil"),
    "within": made("a/../../evil"),
    "backslash": made("a\\b"),
    "twice": made("model_weights.ckpt"),
    "twice by another spelling": made("././model_weights.ckpt"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_members_that_extraction_would_be_dangerous_for_are_refused(kind: str) -> None:
    with pytest.raises(BadArchiveError):
        read_tar(region(tarred(FILES, REFUSED[kind])))


def _header(change: Callable[[bytearray], None]) -> bytes:
    """The tar with its second member's header changed, and its checksum made to fit."""
    data = bytearray(tarred(FILES, form=tarfile.USTAR_FORMAT, mtime=1))
    header = data[512:1024]
    change(header)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(data[:512] + header + data[1024:])


def _size(text: bytes) -> Callable[[bytearray], None]:
    def change(header: bytearray) -> None:
        header[124:136] = text

    return change


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "size",
    [
        b"7" * 11 + b"\0",
        b"\x80" + bytes(3) + b"\x7f" * 8,
        b"x" * 12,
        (-1024).to_bytes(12, "big", signed=True),
        (-512).to_bytes(12, "big", signed=True),
    ],
)
def test_sizes_that_lie_are_refused(size: bytes) -> None:
    with pytest.raises(BadArchiveError):
        read_tar(region(_header(_size(size))))


def test_every_truncation_and_bytes_after_the_end_are_refused() -> None:
    whole = tarred(FILES)
    for end in range(0, len(whole) - 10240, 128):
        with pytest.raises(BadArchiveError):
            read_tar(region(whole[:end]))
    for after in (b"x", bytes(512) + b"x" * 512, whole, bytes(2 << 20)):
        with pytest.raises(BadArchiveError):
            read_tar(region(whole + after))


def test_a_damaged_header_does_not_end_the_archive_unseen() -> None:
    data = bytearray(tarred(FILES, form=tarfile.USTAR_FORMAT))
    data[data.index(b"./model_weights.ckpt")] = 0x41
    with pytest.raises(BadArchiveError, match="after its last member"):
        read_tar(region(bytes(data)))


def test_an_extended_header_of_many_digits_costs_nothing() -> None:
    """CVE-2024-6232: quadratic time in tarfile of Python 3.11.7."""
    info = made("a")
    info.pax_headers = {"comment": "1" * 200_000}
    with pytest.raises(BadArchiveError, match="over 1 KiB"):
        read_tar(region(tarred(FILES, info)))


def test_a_compressed_tar_is_refused_with_the_command_that_unpacks_it(tmp_path: Path) -> None:
    path = tmp_path / "model.nemo"
    path.write_bytes(tarred(FILES, mode="w:gz"))
    with pytest.raises(NoCheckpointError, match=r"gzip compressed.*gunzip"):
        open_files(path, spool=tmp_path)
