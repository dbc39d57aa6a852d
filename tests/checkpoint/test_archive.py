"""Hazards, "Archive": every row, against zips built header by header."""

import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from megaport.checkpoint.archive import CHECKED_BELOW, BadArchiveError, read_members
from megaport.checkpoint.files import digest_files, open_files
from megaport.checkpoint.spool import SpoolError
from megaport.errors import MegaportError
from support.archives import CONTENT, DEFLATED, GOOD, MODEL, TRACKER, File, opened, zipped
from support.torchfiles import region


def refused(data: bytes, folder: Path, match: str = "found") -> None:
    """Refused by name, with nothing left on disk beside the archive itself."""
    with pytest.raises(BadArchiveError, match=match):
        opened(data, folder)
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert left == [folder / "model.zip"]


BAD_NAMES = [
    *("../evil.pt", "a/../../evil.pt", "a/..", "./a", "a/./b", "/etc/passwd", "//server/a"),
    *("C:/evil.pt", "c:evil.pt", "C:\\evil.pt", "a\\b.pt", "..\\evil.pt", "\\evil.pt"),
    *("a\0b.pt", "a\nb.pt", "a\x7fb", "", "a//b"),
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_member_names_that_leave_the_archive_refused(name: str, tmp_path: Path) -> None:
    refused(zipped(TRACKER, GOOD, File(name.encode())), tmp_path, "a member named")


def test_member_names_that_are_not_utf8_refused(tmp_path: Path) -> None:
    refused(zipped(GOOD, File(b"\xff\xfe", flags=0x800)), tmp_path, "not UTF-8")


@pytest.mark.parametrize("kind", [0o120777, 0o020666, 0o060666, 0o010666, 0o140666])
def test_symlink_or_device_members_refused(kind: int, tmp_path: Path) -> None:
    refused(zipped(GOOD, File(b"a", b"/etc/passwd", attributes=kind << 16)), tmp_path, "link or")


def test_ratio_bomb_refused_under_a_byte_budget(tmp_path: Path) -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = b"".join(engine.compress(bytes(1 << 20)) for _ in range(100)) + engine.flush()
    bomb = File(MODEL, method=8, body=body, crc=0, size=100 << 20)
    refused(zipped(bomb), tmp_path, "inflate to 104857600 bytes; expected at most [0-9]{7} from")


@pytest.mark.parametrize("size", [0, 1, 999, 1001, 1 << 30])
def test_a_bomb_that_lies_about_its_size_refused(size: int, tmp_path: Path) -> None:
    member = File(MODEL, b"x" * 1000, method=8, size=size)
    refused(zipped(member), tmp_path)


def test_inflation_stops_at_the_size_the_directory_gives(tmp_path: Path, monkeypatch) -> None:
    written: list[int] = []
    monkeypatch.setattr(
        "megaport.checkpoint.spool.write_all", lambda _, part: written.append(len(part))
    )
    bomb = File(MODEL, bytes(60 << 20), method=8, size=5000)
    refused(zipped(bomb), tmp_path, "another size")
    assert sum(written) <= 5000


def test_overlapping_entries_refused(tmp_path: Path) -> None:
    """CVE-2024-0450: entries of the directory that share one body, as quoted-overlap bombs do."""
    refused(zipped(GOOD, File(b"b", CONTENT, offset=0)), tmp_path, "amid other bytes")
    inside = File(b"b", b"x", body=b"x", offset=4)
    refused(zipped(GOOD, inside), tmp_path)
    outer = zipped(File(b"inner", CONTENT))[: -22 - 51]
    quoted = File(MODEL, outer)
    refused(zipped(quoted, File(b"inner", CONTENT, offset=30 + len(MODEL))), tmp_path)


def test_duplicate_names_refused(tmp_path: Path) -> None:
    refused(zipped(GOOD, File(MODEL, CONTENT)), tmp_path, "twice")
    refused(zipped(GOOD, File(b"note", b"1"), File(b"note", b"2")), tmp_path, "twice")


@pytest.mark.parametrize(
    "local",
    [
        {"name": b"release/mp_rank_00/model_optim_rng.pT"},
        {"method": 8},
        {"flags": 1},
        {"flags": 8},
        {"crc": 1},
        {"size": 1},
        {"compressed": 1},
        {"size": 0xFFFFFFFF},
    ],
    ids=str,
)
def test_local_header_and_central_directory_disagree_refused(local, tmp_path: Path) -> None:
    refused(zipped(TRACKER, File(MODEL, CONTENT, local=local)), tmp_path)


@pytest.mark.parametrize(
    "descriptor",
    [b"", b"PK\x07\x08" + bytes(12), struct.pack("<3I", zlib.crc32(CONTENT), 20, 20), b"junk" * 6],
)
def test_data_descriptor_that_disagrees_refused(descriptor: bytes, tmp_path: Path) -> None:
    refused(zipped(File(MODEL, CONTENT, flags=8, descriptor=descriptor)), tmp_path)


def test_a_stored_member_of_two_sizes_refused(tmp_path: Path) -> None:
    for size in (1, len(CONTENT) * 9):
        numbers = zlib.crc32(CONTENT), len(CONTENT), size
        descriptor = struct.pack("<4s3I", b"PK\x07\x08", *numbers)
        streamed = File(MODEL, CONTENT, flags=8, size=size, descriptor=descriptor)
        refused(zipped(streamed), tmp_path, "stored size")
        refused(zipped(File(MODEL, CONTENT, size=size)), tmp_path, "stored size")


def test_bytes_between_members_and_directories_with_content_refused(tmp_path: Path) -> None:
    refused(
        zipped(TRACKER, File(MODEL, CONTENT, body=CONTENT + b"gap")), tmp_path, "size|no member"
    )
    refused(
        zipped(GOOD, File(b"x", b"a", body=b"a" * 9, size=1, compressed=1)), tmp_path, "no member"
    )
    refused(zipped(GOOD, File(b"folder/", b"content")), tmp_path, "with content")
    at_the_end = File(b"x", offset=len(zipped(GOOD)) - 22 - 46 - len(MODEL) - 10)
    refused(zipped(GOOD, at_the_end), tmp_path)
    refused(zipped(File(MODEL, CONTENT, compressed=1 << 20)), tmp_path, "outside of the zip")


def test_a_tracker_that_is_no_short_text_refused(tmp_path: Path) -> None:
    for tracker in (File(TRACKER.name, b"7" * 5000), File(TRACKER.name, b"7", method=12)):
        refused(zipped(tracker, GOOD), tmp_path, "a tracker of")


@pytest.mark.parametrize("method", [0, 8])
def test_wrong_crc_refused(method: int, tmp_path: Path) -> None:
    refused(zipped(File(MODEL, CONTENT, method=method, crc=1)), tmp_path, "CRC 00000001")


def test_wrong_crc_of_a_large_member_refused_when_digested(tmp_path: Path) -> None:
    """Opening reads no large member; the digest step, which every build passes, reads them all."""
    path = tmp_path / "model.zip"
    path.write_bytes(zipped(TRACKER, File(MODEL, b"\x80" + bytes(CHECKED_BELOW), crc=1)))
    assert len(open_files(path, spool=tmp_path).unchecked) == 1
    with pytest.raises(BadArchiveError, match="CRC 00000001"):
        digest_files(path, spool=tmp_path)


@pytest.mark.parametrize("fault", ["free in", "full", "Not a directory|File exists"])
def test_no_room_to_inflate_is_a_clean_error(fault: str, tmp_path: Path, monkeypatch) -> None:
    if fault == "free in":
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    elif fault == "full":
        monkeypatch.setattr("os.write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    else:
        (tmp_path / "spool").write_bytes(b"not a directory")
    with pytest.raises(SpoolError, match=fault):
        opened(zipped(TRACKER, DEFLATED), tmp_path)


@pytest.mark.parametrize("flags", [0x1, 0x41, 0x2001], ids=hex)
def test_encrypted_flag_refused(flags: int, tmp_path: Path) -> None:
    refused(zipped(TRACKER, File(MODEL, CONTENT, flags=flags)), tmp_path, "encrypted")


@pytest.mark.parametrize("method", [1, 9, 12, 14, 93, 95, 99])
def test_other_compressions_refused(method: int, tmp_path: Path) -> None:
    refused(zipped(TRACKER, File(MODEL, CONTENT, method=method)), tmp_path, f"method {method}")


def test_damaged_deflate_data_refused(tmp_path: Path) -> None:
    good = DEFLATED.stored()
    for body in (good[:-1], good + b"x", b"\xff" * 50, b"", good[:10] + b"\xff" * 9 + good[19:]):
        member = File(MODEL, DEFLATED.content, method=8, body=body)
        refused(zipped(TRACKER, member), tmp_path)


def test_truncated_end_record_and_every_other_truncation_refused(tmp_path: Path) -> None:
    whole = zipped(TRACKER, GOOD)
    for end in range(1, len(whole)):
        with pytest.raises(BadArchiveError):
            read_members(region(whole[:end]))
    refused(whole[:-1], tmp_path, "ends with its directory")


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("junk", [b"\0", b"#!/bin/sh\n", b"PK", b"x" * 70_000], ids=len)
def test_leading_or_trailing_junk_refused(junk: bytes, zip64: bool) -> None:
    before = zipped(TRACKER, GOOD, before=junk, zip64=zip64)
    after = zipped(TRACKER, GOOD, after=junk, zip64=zip64)
    for data in (junk + zipped(TRACKER, GOOD, zip64=zip64), before, after):
        with pytest.raises(BadArchiveError):
            read_members(region(data))


def test_an_end_record_hidden_in_a_comment_refused(tmp_path: Path) -> None:
    other = zipped(File(MODEL, b"other"))
    refused(zipped(TRACKER, GOOD, comment=other), tmp_path, "end record of another")


@pytest.mark.parametrize("count", [0, 1, 3, 0xFFFF])
def test_a_count_of_entries_that_lies_refused(count: int, tmp_path: Path) -> None:
    refused(zipped(TRACKER, GOOD, count=count), tmp_path)


@pytest.mark.parametrize("data", [b"", b"not a zip at all", bytes(100)])
def test_not_a_zip_at_all_and_an_empty_file_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(MegaportError, match=r"empty file|file that starts"):
        opened(data, tmp_path)


def test_end_records_of_32_and_64_bits_that_disagree_refused(tmp_path: Path) -> None:
    good = zipped(TRACKER, GOOD, zip64=True)
    at = good.index(b"PK\x06\x06")
    for field, value in ((24, 1), (32, 1), (40, 7), (48, 1), (4, 45)):
        lying = good[: at + field] + struct.pack("<Q", value) + good[at + field + 8 :]
        refused(lying, tmp_path)
