"""A checkpoint in a zip: stored members where they lie, compressed ones inflated without names."""

from collections.abc import Sequence
from pathlib import Path

from megaport.checkpoint.content_files import content_files
from megaport.checkpoint.inflate import check_budget, inflate
from megaport.checkpoint.regions import Region, map_file
from megaport.checkpoint.selection import select
from megaport.checkpoint.zip_directory import bad_archive
from megaport.checkpoint.zip_members import (
    CHECKED_BELOW,
    DEFLATED,
    STORED,
    Member,
    check_crc,
    read_members,
)

_TRACKER_BYTES = 4096


class Source(dict[str, Region]):
    """Name relative to the iteration's directory -> bytes, of the files that carry the model.

    `folder` is that directory within the path ("" or ending in "/"), `ignored` the other files,
    `unchecked` the members of a large zip whose CRC-32 has not been compared yet.
    """

    def __init__(
        self,
        files: dict[str, Region],
        folder: str,
        ignored: list[str],
        unchecked: Sequence[Member] = (),
    ) -> None:
        super().__init__(files)
        self.folder = folder
        self.ignored = tuple(ignored)
        self.unchecked = tuple(unchecked)


def open_archive(path: Path, *, spool: Path) -> Source:
    """The checkpoint in the zip at `path`; nothing is ever written to disk under a member's name.

    Raises `BadArchiveError` for every archive that is damaged, ambiguous or hostile,
    `NoCheckpointError` for a zip of something else, `SpoolError` when `spool` has no room.
    CRCs of stored members are checked here in archives below 16 MiB, and of all when digested.
    """
    return open_zip(map_file(path), spool=spool)


def open_zip(region: Region, *, spool: Path) -> Source:
    """`open_archive` of a zip that is mapped already."""
    members = read_members(region)
    folder = select(region.name, members, lambda name: _tracker(members[name], spool))
    names = [name[len(folder) :] for name in members if name.startswith(folder)]
    wanted = {name: members[folder + name] for name in content_files(names)}
    if not wanted:
        raise bad_archive(region.name, f"nothing that counts in {folder!r}", "a model's files")
    unchecked = _check(region, list(wanted.values()), spool)
    regions = {name: _bytes(member, spool) for name, member in wanted.items()}
    others = sorted(set(members) - {folder + name for name in wanted})
    return Source(regions, folder, others, unchecked)


def _check(region: Region, members: list[Member], spool: Path) -> list[Member]:
    """Refuse what must not be read; the stored members whose bytes are too many to check now."""
    for member in members:
        if member.method not in (STORED, DEFLATED):
            seen = f"{member.name[:80]!r} compressed by method {member.method}"
            raise bad_archive(region.name, seen, "stored or deflated members")
    stored = [member for member in members if member.method == STORED]
    deflated = [member for member in members if member.method == DEFLATED]
    check_budget(region.name, deflated, region.size, spool)
    if region.size > CHECKED_BELOW:
        return stored
    for member in stored:
        check_crc(member)
    return []


def _bytes(member: Member, spool: Path) -> Region:
    return member.body if member.method == STORED else inflate(member, spool)


def _tracker(member: Member, spool: Path) -> bytes:
    if member.size > _TRACKER_BYTES or member.method not in (STORED, DEFLATED):
        raise bad_archive(member.body.name, f"a tracker of {member.size} bytes", "a short text")
    if member.method == STORED:
        check_crc(member)
        return bytes(member.body.view)
    check_budget(member.body.name, [member], len(member.body.view), spool)
    return bytes(inflate(member, spool).view)
