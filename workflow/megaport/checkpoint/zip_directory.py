"""The central directory of a zip, read strictly: one reading of the file, or a refusal.

Layout: PKWARE's APPNOTE 4.3 and 4.5. Python's zipfile (3.11.7, CVE-2024-0450) lets entries overlap
and trusts the directory where the local headers say otherwise.
"""

import re
import stat
import struct
from dataclasses import dataclass

from megaport.checkpoint.regions import Region
from megaport.errors import MegaportError

STORED, DEFLATED = 0, 8
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_UTF8 = 0x0800
_BAD_NAME = re.compile(r"[\\\x00-\x1f\x7f]|^/|^[A-Za-z]:|(^|/)\.{1,2}(/|$)|//")


class BadArchiveError(MegaportError):
    """A zip that is damaged, ambiguous or built to do harm."""


def bad_archive(where: str, seen: str, expected: str) -> BadArchiveError:
    return BadArchiveError(
        where,
        seen=seen,
        expected=expected,
        remedy="Nothing was extracted. Get the archive again, or give the checkpoint's directory.",
    )


@dataclass(frozen=True)
class Entry:
    """One member as the central directory has it; `offset` is that of its local header."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    offset: int


def read_directory(region: Region) -> tuple[list[Entry], int]:
    """The entries in the directory's order, and where the directory starts.

    Raises `BadArchiveError` for anything but one zip on one disk that fills the region exactly,
    and for names or kinds of members that extraction would be dangerous for.
    """
    count, size, start = _find_end(region)
    entries, position = [], start
    for _ in range(count):
        entry, position = _entry(region, position, start + size)
        entries.append(entry)
    if position != start + size:
        raise bad_archive(region.name, "a directory of another size", "one entry after the other")
    _check_names(region.name, entries)
    return entries, start


def _find_end(region: Region) -> tuple[int, int, int]:
    """Number of entries, size and offset of the directory, from the end record(s)."""
    tail = bytes(region.view[-(_END.size + _MAX16) :])
    base = region.size - len(tail)
    ends = [at for at in _positions(tail) if _comment_fits(tail, at)]
    if len(ends) != 1:
        seen = "no end record, or bytes after it" if not ends else "more than one end record"
        raise bad_archive(region.name, seen, "a zip that ends with its directory")
    numbers = _END.unpack_from(tail, ends[0])[1:7]
    end = base + ends[0]
    numbers, end = _find_end64(region, end, numbers)
    disk, first_disk, here, count, size, start = numbers
    if disk or first_disk or here != count:
        raise bad_archive(region.name, "one part of a zip in several", "a zip in one file")
    if start + size != end:
        raise bad_archive(region.name, "bytes before or after the zip's own", "a zip only")
    return count, size, start


def _positions(tail: bytes) -> list[int]:
    return [m.start() for m in re.finditer(b"PK\x05\x06", tail)]


def _comment_fits(tail: bytes, at: int) -> bool:
    if at + _END.size > len(tail):
        return False
    return at + _END.size + int(_END.unpack_from(tail, at)[-1]) == len(tail)


def _find_end64(region: Region, end: int, numbers: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The numbers of the zip64 end record and where it lies, if there is one (torch writes one).

    Numbers of the plain end record that are not at their maximum must say the same.
    """
    at = end - _LOCATOR64.size
    if at < _END64.size or bytes(region.view[at : at + 4]) != b"PK\x06\x07":
        return numbers, end
    _, locator_disk, position, disks = _LOCATOR64.unpack_from(region.view, at)
    if position != at - _END64.size or locator_disk or disks != 1:
        raise bad_archive(region.name, "a misplaced zip64 end record", "one before its locator")
    magic, length, _, _, *large = _END64.unpack_from(region.view, position)
    if magic != b"PK\x06\x06" or length != _END64.size - 12:
        raise bad_archive(region.name, "a damaged zip64 end record", "one of 56 bytes")
    for small, number, most in zip(numbers, large, (_MAX16,) * 4 + (_MAX32,) * 2, strict=True):
        if small not in (number, most):
            raise bad_archive(region.name, "two end records that disagree", "equal end records")
    return tuple(large), position


def _entry(region: Region, position: int, limit: int) -> tuple[Entry, int]:
    if position + _ENTRY.size > limit:
        raise bad_archive(region.name, "a directory cut short", "all of its entries")
    fields = _ENTRY.unpack_from(region.view, position)
    magic, _, _, flags, method, _, _, crc, compressed, size = fields[:10]
    name_length, extra_length, comment_length, disk, _, attributes, offset = fields[10:]
    extra_at = position + _ENTRY.size + name_length
    end = extra_at + extra_length + comment_length
    if magic != b"PK\x01\x02" or end > limit or disk not in (0, _MAX16):
        raise bad_archive(region.name, "a damaged directory entry", "an entry of a zip")
    raw = bytes(region.view[position + _ENTRY.size : extra_at])
    extra = bytes(region.view[extra_at : extra_at + extra_length])
    size, compressed, offset = zip64_sizes(region.name, extra, (size, compressed, offset))
    name = _decoded(region.name, raw, flags)
    _check_kind(region.name, name, attributes, flags)
    return Entry(name, raw, flags, method, crc, compressed, size, offset), end


def zip64_sizes(where: str, extra: bytes, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """`sizes` with those of 0xFFFFFFFF taken from the zip64 extra field (APPNOTE 4.5.3)."""
    if _MAX32 not in sizes:
        return sizes
    position = 0
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, position)
        if tag == 1:
            body = extra[position + 4 : position + 4 + length]
            if len(body) < 8 * sizes.count(_MAX32):
                break
            large = iter(struct.unpack_from(f"<{len(body) // 8}Q", body))
            return tuple(next(large) if size == _MAX32 else size for size in sizes)
        position += 4 + length
    raise bad_archive(where, "a size over 4 GiB without its zip64 field", "a zip64 extra field")


def _decoded(where: str, raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise bad_archive(where, "a member name that is not UTF-8", "UTF-8") from None


def _check_kind(where: str, name: str, attributes: int, flags: int) -> None:
    if not name or _BAD_NAME.search(name):
        raise bad_archive(where, f"a member named {name[:80]!r}", "plain relative names")
    if stat.S_IFMT(attributes >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise bad_archive(where, f"{name[:80]!r}, a link or device", "regular files only")
    if flags & _ENCRYPTED:
        raise bad_archive(where, f"{name[:80]!r}, which is encrypted", "a zip without a password")


def _check_names(where: str, entries: list[Entry]) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise bad_archive(where, f"{entry.name[:80]!r} twice", "every member once")
        seen.add(entry.name)
