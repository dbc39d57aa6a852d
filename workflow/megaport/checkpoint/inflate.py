"""Inflates zip members under a byte budget, into files that have no name."""

import os
import shutil
import tempfile
import zlib
from pathlib import Path

from megaport.checkpoint.regions import Region, map_descriptor
from megaport.checkpoint.zip_directory import BadArchiveError, bad_archive
from megaport.checkpoint.zip_members import Member, wrong_crc
from megaport.errors import MegaportError

# Weights hardly compress; deflate's bombs reach a ratio of 1032.
MOST_RATIO = 64
ALWAYS_ALLOWED = 64 << 20
_CHUNK = 1 << 20


class SpoolError(MegaportError):
    """No room or no right to write what a compressed archive inflates to."""


def check_budget(where: str, members: list[Member], archive_size: int, spool: Path) -> None:
    """Refuse members that claim to inflate beyond reason (`BadArchiveError`) or room."""
    total = sum(member.size for member in members)
    allowed = max(ALWAYS_ALLOWED, MOST_RATIO * archive_size)
    if total > allowed:
        seen = f"members that inflate to {total} bytes"
        raise bad_archive(where, seen, f"at most {allowed} from an archive of {archive_size}")
    if members:
        _check_room(where, total, spool)


def _check_room(where: str, total: int, spool: Path) -> None:
    try:
        spool.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(spool).free
    except OSError as error:
        raise _no_room(where, f"{spool}: {error.strerror}") from error
    if total > free:
        raise _no_room(where, f"{total} bytes to inflate and {free} free in {spool}")


def inflate(member: Member, spool: Path) -> Region:
    """The member's bytes, in an unlinked temporary file under `spool`, mapped.

    Never writes more than the size the directory gives; checks that size and the CRC-32. Raises
    `BadArchiveError` or `SpoolError`.
    """
    try:
        with tempfile.TemporaryFile(dir=spool) as file:
            _write(member, file.fileno())
            return Region(member.body.name, map_descriptor(file.fileno(), member.body.name))
    except OSError as error:
        raise _no_room(member.body.name, error.strerror or "an error of the disk") from error


def _write(member: Member, descriptor: int) -> None:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    crc, left, view = 0, member.size, member.body.view
    position, pending = 0, b""
    while not engine.eof and (pending or position < len(view)):
        if not pending:
            pending = bytes(view[position : position + _CHUNK])
            position += len(pending)
        # One byte more than is left, so that a member longer than it claims shows itself.
        part = _inflated(member, engine, pending, min(_CHUNK, left + 1))
        pending = engine.unconsumed_tail
        left -= len(part)
        if left < 0:
            raise _lies(member)
        crc = zlib.crc32(part, crc)
        _write_all(descriptor, part)
    if left or not engine.eof or engine.unused_data or position < len(view):
        raise _lies(member)
    if crc != member.crc:
        raise wrong_crc(member, crc)


def _inflated(member: Member, engine: "zlib._Decompress", data: bytes, most: int) -> bytes:
    try:
        return engine.decompress(data, most)
    except zlib.error:
        seen = "compressed data that is damaged"
        raise bad_archive(member.body.name, seen, "deflated data") from None


def _write_all(descriptor: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(descriptor, view) :]


def _lies(member: Member) -> BadArchiveError:
    return bad_archive(
        member.body.name, "another size than the directory says", f"{member.size} bytes"
    )


def _no_room(where: str, seen: str) -> SpoolError:
    return SpoolError(
        where,
        seen=seen,
        expected="room for the inflated checkpoint",
        remedy="Free some space, or unpack the archive yourself.",
    )
