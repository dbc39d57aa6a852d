"""The members of a zip, where they lie: its directory by zipfile, and one reading or a refusal.

zipfile (3.11.7, CVE-2024-0450) lets members overlap, takes what precedes or follows a zip for a
part of it, and trusts the directory where local headers say otherwise: that is checked here.
Layout: PKWARE's APPNOTE 4.3 and 4.5.
"""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import IO, cast

from megaport.checkpoint.regions import Region, RegionReader
from megaport.errors import MegaportError, shown_text

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
# CRCs of less than this are compared when a checkpoint is opened, of more when it is digested.
CHECKED_BELOW = 16 << 20
_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY_BYTES = 46
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q4sIQI")  # the record and, right after it, its locator
_DESCRIPTORS = (struct.Struct("<4s3I"), struct.Struct("<4sI2Q"))
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_DESCRIPTOR_FLAG, _UTF8 = 0x0008, 0x0800
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_BAD_NAME = re.compile(r"[\\\x00-\x1f\x7f]|^/|^[A-Za-z]:|(^|/)\.{1,2}(/|$)|//")


class BadArchiveError(MegaportError):
    """An archive that is damaged, ambiguous or built to do harm."""


bad_archive = partial(
    BadArchiveError,
    remedy="Nothing was extracted. Get the file again, or give the unpacked checkpoint.",
)


@dataclass(frozen=True)
class Member:
    """A file in an archive: its bytes as they lie there (`body`), and what they should become."""

    name: str
    method: int
    crc: int | None
    size: int
    body: Region


def is_zip(region: Region) -> bool:
    return bytes(region.view[:2]) == b"PK"


def is_tar(region: Region) -> bool:
    return bytes(region.view[257:262]) == b"ustar"


def read_members(region: Region) -> dict[str, Member]:
    """Name -> member of a zip, directories left out; bodies are views, nothing is read or inflated.

    The members must fill the zip from its first byte to its directory without gap or overlap, so
    that there is one way only to read it. Raises `BadArchiveError`, also for names or kinds of
    members that extraction would be dangerous for.
    """
    directory, start = _directory(region)
    members: dict[str, Member] = {}
    position = 0
    for info in sorted(directory, key=lambda info: info.header_offset):
        check_name(region.name, info.orig_filename, info.filename, members)
        _check_kind(region.name, info)
        if info.header_offset != position:
            raise bad_archive(region.name, f"{_shown(info)} amid other bytes", "no overlap")
        body, position = _body(region, info, start)
        members[info.filename] = Member(
            info.filename, info.compress_type, info.CRC, info.file_size, body
        )
        if info.is_dir() and info.file_size:
            raise bad_archive(region.name, f"{_shown(info)} with content", "empty directories")
    if position != start:
        raise bad_archive(region.name, "bytes that belong to no member", "members only")
    return {name: member for name, member in members.items() if not name.endswith("/")}


def check_name(where: str, name: str, safe: str, known: Iterable[str]) -> None:
    """Refuse names of members that leave the archive, that two readers may read apart, or twice."""
    if not name or name != safe or _BAD_NAME.search(name):
        raise bad_archive(where, f"a member named {name[:80]!r}", "plain relative names")
    if name in known:
        raise bad_archive(where, f"{name[:80]!r} twice", "every member once")


def check_crc(member: Member) -> None:
    """`BadArchiveError` unless the stored bytes have the CRC-32 that the directory gives."""
    crc = zlib.crc32(member.body.view)
    if member.crc is not None and crc != member.crc:
        raise wrong_crc(member, crc)


def wrong_crc(member: Member, crc: int) -> BadArchiveError:
    return bad_archive(member.body.name, f"CRC {crc:08x}", f"CRC {member.crc:08x}")


def pickle_name(members: Iterable[str]) -> str | None:
    """The `NAME/data.pkl` of a zip that torch.save wrote; None for any other zip."""
    found = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    return found[0] if len(found) == 1 else None


def check_records(region: Region) -> None:
    """Check every CRC of torch's zip, unless torch was told to compute none and wrote zeros.

    (`torch.serialization.set_crc32_options(False)`.) Raises `BadArchiveError`.
    """
    members = read_members(region).values()
    if any(member.crc for member in members):
        for member in members:
            check_crc(member)


def _directory(region: Region) -> tuple[list[zipfile.ZipInfo], int]:
    """The entries, and where the directory starts."""
    try:
        with zipfile.ZipFile(cast(IO[bytes], RegionReader(region))) as archive:
            entries, start = archive.infolist(), archive.start_dir
    except UnicodeDecodeError:
        raise bad_archive(region.name, "a member name that is not UTF-8", "UTF-8") from None
    except (zipfile.BadZipFile, NotImplementedError, struct.error, OSError, ValueError) as error:
        seen = f"what zipfile calls: {shown_text(str(error))}"
        raise bad_archive(region.name, seen, "a zip that ends with its directory") from None
    names = sum(len(_raw_name(info)) + len(info.extra) + len(info.comment) for info in entries)
    _check_end(region, len(entries), names + _ENTRY_BYTES * len(entries), start)
    return entries, start


def _check_end(region: Region, count: int, size: int, start: int) -> None:
    """The end records, which must say of the directory what it is, and end the file."""
    numbers = (0, 0, count, count, size, start)
    allowed = {field: {number} for field, number in enumerate(numbers)}
    tail = bytes(region.view[start + size :][: _END64.size + _END.size + _MAX16])
    if tail[:4] == b"PK\x06\x06" and len(tail) >= _END64.size:
        _, length, _, _, *large = _END64.unpack_from(tail)
        if (length, *large) != (44, *numbers, b"PK\x06\x07", 0, start + size, 1):
            raise bad_archive(region.name, "two end records that disagree", "equal end records")
        tail = tail[_END64.size :]
        allowed = {at: {n, _MAX16 if at < 4 else _MAX32} for at, n in enumerate(numbers)}
    if len(tail) < _END.size or tail[:4] != b"PK\x05\x06":
        raise bad_archive(region.name, "no end record after the directory", "a zip only")
    _, *small, comment = _END.unpack_from(tail)
    if any(number not in allowed[field] for field, number in enumerate(small)):
        raise bad_archive(region.name, "an end record of another directory", "a zip in one file")
    if len(tail) != _END.size + comment or b"PK\x05\x06" in tail[4:]:
        raise bad_archive(region.name, "bytes after the zip, or more than one end record", "one")


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")


def _shown(info: zipfile.ZipInfo) -> str:
    return repr(info.filename[:80])


def _check_kind(where: str, info: zipfile.ZipInfo) -> None:
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise bad_archive(where, f"{_shown(info)}, a link or device", "regular files only")
    if info.flag_bits & _ENCRYPTED:
        raise bad_archive(where, f"{_shown(info)}, which is encrypted", "a zip without a password")
    if info.volume not in (0, _MAX16):
        raise bad_archive(where, f"{_shown(info)} in another file", "a zip in one file")


def _body(region: Region, info: zipfile.ZipInfo, limit: int) -> tuple[Region, int]:
    """The bytes of a member after its local header, and where the next member has to start."""
    start = info.header_offset + _LOCAL.size
    fields = _LOCAL.unpack_from(region.view, info.header_offset)
    name_end = start + fields[9]
    body_start = name_end + fields[10]
    body_end = body_start + info.compress_size
    if fields[0] != b"PK\x03\x04" or body_end > limit:
        raise bad_archive(region.name, f"{_shown(info)} outside of the zip", "a whole zip")
    if bytes(region.view[start:name_end]) != _raw_name(info):
        raise _disagreement(region.name, info, "name")
    _check_local(region.name, info, fields, bytes(region.view[name_end:body_start]))
    body = Region(f"{region.name}:{info.filename}", region.view[body_start:body_end])
    if info.flag_bits & _DESCRIPTOR_FLAG:
        return body, _after_descriptor(region, info, body_end, limit)
    return body, body_end


def _check_local(where: str, info: zipfile.ZipInfo, fields: tuple[int, ...], extra: bytes) -> None:
    flags, method, crc, compressed, size = fields[2], fields[3], fields[6], fields[7], fields[8]
    if flags != info.flag_bits or method != info.compress_type:
        raise _disagreement(where, info, "flags or method")
    size, compressed = _zip64_sizes(where, extra, (size, compressed))
    # Written in one go, a member has its numbers after the body, and zeros for them before it.
    unknown = 0 if info.flag_bits & _DESCRIPTOR_FLAG else None
    directory = (info.CRC, info.compress_size, info.file_size)
    for here, there in zip((crc, compressed, size), directory, strict=True):
        if here not in (there, unknown):
            raise _disagreement(where, info, "size or CRC")
    if method == STORED and info.compress_size != info.file_size:
        raise _disagreement(where, info, "stored size")


def _zip64_sizes(where: str, extra: bytes, sizes: tuple[int, int]) -> tuple[int, ...]:
    """`sizes` with those of 0xFFFFFFFF taken from the zip64 extra field (APPNOTE 4.5.3)."""
    if _MAX32 not in sizes:
        return sizes
    position = 0
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, position)
        body = extra[position + 4 : position + 4 + length]
        if tag == 1 and len(body) >= 8 * sizes.count(_MAX32):
            large = iter(struct.unpack_from(f"<{len(body) // 8}Q", body))
            return tuple(next(large) if size == _MAX32 else size for size in sizes)
        position += 4 + length
    raise bad_archive(where, "a size over 4 GiB without its zip64 field", "a zip64 extra field")


def _after_descriptor(region: Region, info: zipfile.ZipInfo, position: int, limit: int) -> int:
    """The end of the data descriptor: with its signature, sizes of 4 or (zip64) 8 bytes."""
    for layout in _DESCRIPTORS:
        if position + layout.size <= limit:
            found = layout.unpack_from(region.view, position)
            if found == (b"PK\x07\x08", info.CRC, info.compress_size, info.file_size):
                return position + layout.size
    raise _disagreement(region.name, info, "data descriptor")


def _disagreement(where: str, info: zipfile.ZipInfo, what: str) -> BadArchiveError:
    seen = f"another {what} for {_shown(info)} in its header than in the directory"
    return bad_archive(where, seen, "headers that agree")
