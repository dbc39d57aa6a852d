"""The members of a zip: local headers that agree with the directory, and bodies that fit it."""

import struct
import zlib
from dataclasses import dataclass

from megaport.checkpoint.regions import Region
from megaport.checkpoint.zip_directory import (
    DEFLATED,
    STORED,
    Entry,
    bad_archive,
    read_directory,
    zip64_sizes,
)

_LOCAL = struct.Struct("<4s5H3I2H")
_DESCRIPTOR_FLAG = 0x0008
_MAX32 = 0xFFFFFFFF
_DESCRIPTORS = (struct.Struct("<4s3I"), struct.Struct("<4sI2Q"))
_CHUNK = 1 << 20
# CRCs of less than this are compared when a checkpoint is opened, of more when it is digested.
CHECKED_BELOW = 16 << 20


@dataclass(frozen=True)
class Member:
    """A file in a zip: its bytes as they lie there (`body`), and what they should become."""

    name: str
    method: int
    crc: int
    size: int
    body: Region


def read_members(region: Region) -> dict[str, Member]:
    """Name -> member of a zip, directories left out; bodies are views, nothing is read or inflated.

    The members must fill the zip from its first byte to its directory without gap or overlap, so
    that there is one way only to read it. Raises `BadArchiveError`.
    """
    entries, end = read_directory(region)
    members, position = {}, 0
    for entry in sorted(entries, key=lambda e: e.offset):
        if entry.offset != position:
            raise bad_archive(region.name, f"{entry.name[:80]!r} amid other bytes", "no overlap")
        body, position = _body(region, entry, end)
        if not entry.name.endswith("/"):
            members[entry.name] = Member(entry.name, entry.method, entry.crc, entry.size, body)
        elif entry.size:
            raise bad_archive(region.name, f"{entry.name[:80]!r} with content", "empty directories")
    if position != end:
        raise bad_archive(region.name, "bytes that belong to no member", "members only")
    return members


def check_crc(member: Member) -> None:
    """`BadArchiveError` unless the stored bytes have the CRC-32 that the directory gives."""
    crc, view = 0, member.body.view
    for start in range(0, len(view), _CHUNK):
        crc = zlib.crc32(view[start : start + _CHUNK], crc)
    if crc != member.crc:
        raise wrong_crc(member, crc)


def wrong_crc(member: Member, crc: int) -> Exception:
    return bad_archive(member.body.name, f"CRC {crc:08x}", f"CRC {member.crc:08x}")


def _body(region: Region, entry: Entry, limit: int) -> tuple[Region, int]:
    """The bytes of a member after its local header, and where the next member has to start."""
    start = entry.offset + _LOCAL.size
    if start > limit:
        raise bad_archive(region.name, "a member header cut short", "a whole zip")
    fields = _LOCAL.unpack_from(region.view, entry.offset)
    name_end = start + fields[9]
    body_start = name_end + fields[10]
    body_end = body_start + entry.compressed
    if fields[0] != b"PK\x03\x04" or body_end > limit:
        raise bad_archive(region.name, f"{entry.name[:80]!r} outside of the zip", "a whole zip")
    extra = bytes(region.view[name_end:body_start])
    if bytes(region.view[start:name_end]) != entry.raw_name:
        raise _disagreement(region.name, entry, "name")
    _check_local(region.name, entry, fields, extra)
    if entry.flags & _DESCRIPTOR_FLAG:
        end = _after_descriptor(region, entry, body_end, limit)
    else:
        end = body_end
    view = region.view[body_start:body_end]
    return Region(f"{region.name}:{entry.name}", view), end


def _check_local(where: str, entry: Entry, fields: tuple[int, ...], extra: bytes) -> None:
    flags, method, crc, compressed, size = fields[2], fields[3], fields[6], fields[7], fields[8]
    if flags != entry.flags or method != entry.method:
        raise _disagreement(where, entry, "flags or method")
    size, compressed = zip64_sizes(where, extra, (size, compressed))
    # Written in one go, a member has its numbers after the body, and zeros for them before it.
    unknown = 0 if entry.flags & _DESCRIPTOR_FLAG else None
    directory = (entry.crc, entry.compressed, entry.size)
    for here, there in zip((crc, compressed, size), directory, strict=True):
        if here not in (there, unknown):
            raise _disagreement(where, entry, "size or CRC")
    if method == STORED and entry.compressed != entry.size:
        raise _disagreement(where, entry, "stored size")


def _after_descriptor(region: Region, entry: Entry, position: int, limit: int) -> int:
    """The end of the data descriptor: with its signature, sizes of 4 or (zip64) 8 bytes."""
    for layout in _DESCRIPTORS:
        if position + layout.size <= limit:
            magic, *numbers = layout.unpack_from(region.view, position)
            if magic == b"PK\x07\x08" and numbers == [entry.crc, entry.compressed, entry.size]:
                return position + layout.size
    raise _disagreement(region.name, entry, "data descriptor")


def _disagreement(where: str, entry: Entry, what: str) -> Exception:
    seen = f"another {what} for {entry.name[:80]!r} in its header than in the directory"
    return bad_archive(where, seen, "headers that agree")


__all__ = [
    "CHECKED_BELOW",
    "DEFLATED",
    "STORED",
    "Member",
    "check_crc",
    "read_members",
    "wrong_crc",
]
