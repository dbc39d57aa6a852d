"""Inflates what is compressed, under a byte budget, into scratch files that have no name."""

import os
import shutil
import tempfile
import zlib
from functools import partial
from pathlib import Path

from megaport.checkpoint.archive import BadArchiveError, Member, bad_archive, wrong_crc
from megaport.checkpoint.regions import Region, map_descriptor
from megaport.errors import MegaportError

# Weights hardly compress; deflate's bombs reach a ratio of 1032.
MOST_RATIO = 64
ALWAYS_ALLOWED = 4 << 20
# zlib's `wbits` of a stream without header, with zlib's and with gzip's (docs.python.org, zlib).
RAW, ZLIB, GZIP = -15, 15, 31
_CHUNK = 1 << 20


class SpoolError(MegaportError):
    """No room or no right to write what is compressed, or in pieces, in one piece."""


_no_room = partial(
    SpoolError,
    expected="room for the inflated checkpoint",
    remedy="Free some space, or unpack the archive yourself.",
)


def check_budget(where: str, total: int, compressed: int, spool: Path) -> None:
    """Refuse what claims to inflate beyond reason (`BadArchiveError`) or room (`SpoolError`)."""
    allowed = max(ALWAYS_ALLOWED, MOST_RATIO * compressed)
    if total > allowed:
        seen = f"members that inflate to {total} bytes"
        raise bad_archive(where, seen, f"at most {allowed} from {compressed} compressed")
    try:
        spool.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(spool).free
    except OSError as error:
        raise _no_room(where, f"{spool}: {error.strerror}") from error
    if total > free:
        raise _no_room(where, f"{total} bytes to inflate and {free} free in {spool}")


def inflate(member: Member, spool: Path, wbits: int = RAW) -> Region:
    """The member's bytes, in an unlinked temporary file under `spool`, mapped.

    Never writes more than the size the member claims; checks that size and the CRC-32. Raises
    `BadArchiveError` or `SpoolError`.
    """
    try:
        with tempfile.TemporaryFile(dir=spool) as file:
            _write(member, zlib.decompressobj(wbits), file.fileno())
            return Region(member.body.name, map_descriptor(file.fileno(), member.body.name))
    except OSError as error:
        raise _no_room(member.body.name, error.strerror or "an error of the disk") from error


def _write(member: Member, engine: "zlib._Decompress", descriptor: int) -> None:
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
        write_all(descriptor, part)
    if left or not engine.eof or engine.unused_data or position < len(view):
        raise _lies(member)
    if member.crc is not None and crc != member.crc:
        raise wrong_crc(member, crc)


def _inflated(member: Member, engine: "zlib._Decompress", data: bytes, most: int) -> bytes:
    try:
        return engine.decompress(data, most)
    except zlib.error:
        seen = "compressed data that is damaged"
        raise bad_archive(member.body.name, seen, "deflated data") from None


def write_all(descriptor: int, part: bytes | memoryview) -> None:
    """Write all of it, where one `write` may write less."""
    view = memoryview(part)
    while view:
        view = view[os.write(descriptor, view) :]


def _lies(member: Member) -> BadArchiveError:
    seen = "another size inflated than it claims"
    return bad_archive(member.body.name, seen, f"{member.size} bytes")
