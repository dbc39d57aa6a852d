"""The members of a tar, where they lie: its headers by tarfile, or a refusal.

tarfile (3.11.7) ends at a damaged header as if the archive did, follows links, knows sparse files
and takes quadratic time for a long extended header (CVE-2024-6232): that is checked here.
"""

import tarfile
from typing import IO, cast

from megaport.checkpoint.archive import STORED, Member, bad_archive, check_name
from megaport.checkpoint.regions import Region, RegionReader
from megaport.errors import shown_text

# Names have at most 255 bytes, and no header that Python or GNU tar writes for one has 1 KiB.
_MOST_HEADER = 1024
_MOST_PADDING = 1 << 20


class _HeaderReader(RegionReader):
    """Gives tarfile the headers, and no more of them at once than any writer writes."""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_HEADER:
            raise bad_archive(self._name, "an extended header of over 1 KiB", "plain headers")
        return super().read(size)


def read_tar(region: Region) -> dict[str, Member]:
    """Name -> member of an uncompressed tar, without "./"; bodies are views, nothing is extracted.

    Raises `BadArchiveError`, also for names or kinds of members that extraction would be dangerous
    for. A tar has no checksums of what is in it.
    """
    members: dict[str, Member] = {}
    end = 0
    for info in _headers(region):
        name = info.name.removeprefix("./")
        end = info.offset_data + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        if info.isdir():
            end = info.offset_data
            continue
        check_name(region.name, name, name, members)
        if not info.isreg() or info.sparse is not None:
            seen = f"{name[:80]!r}, a link, device or sparse file"
            raise bad_archive(region.name, seen, "regular files only")
        body = region.sub(info.offset_data, info.size, f"{region.name}:{name}")
        members[name] = Member(name, STORED, None, info.size, body)
    rest = region.view[end:]
    if len(rest) > _MOST_PADDING or any(rest):
        raise bad_archive(region.name, "bytes after its last member", "a tar only")
    return members


def _headers(region: Region) -> list[tarfile.TarInfo]:
    try:
        with tarfile.open(fileobj=cast(IO[bytes], _HeaderReader(region)), mode="r:") as archive:
            # One by one: a size below zero leads back to a header that was read before.
            members = list[tarfile.TarInfo]()
            for info in archive:
                if info.size < 0:
                    raise bad_archive(region.name, f"a member of {info.size} bytes", "a size")
                members.append(info)
            return members
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:
        seen = f"what tarfile calls: {shown_text(str(error))}"
        raise bad_archive(region.name, seen, "a whole tar") from None
