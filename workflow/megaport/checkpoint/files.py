"""The files at a path that carry a model, mapped where they lie. Standard library only.

A path is a directory, a zip, or one file of torch.save. Names are relative to the iteration that
is selected, so that all of these, and copies elsewhere, give the same names.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from megaport.checkpoint.archive import (
    CHECKED_BELOW,
    DEFLATED,
    STORED,
    Member,
    bad_archive,
    check_crc,
    check_records,
    pickle_name,
    read_members,
)
from megaport.checkpoint.regions import Region, map_file
from megaport.checkpoint.selection import NoCheckpointError, content_files, select
from megaport.checkpoint.spool import check_budget, inflate

_MOST_FILES = 1_000_000
_TRACKER_BYTES = 4096
_CHUNK = 1 << 22


class Files(dict[str, Region]):
    """Name relative to the iteration's directory -> bytes, of the files that carry the model.

    `folder` is that directory within the path ("" or ending in "/"), `ignored` the other files,
    `unchecked` the members of a large archive whose CRC-32 has not been compared yet.
    """

    def __init__(
        self,
        files: dict[str, Region],
        folder: str = "",
        ignored: Sequence[str] = (),
        unchecked: Sequence[Member] = (),
    ) -> None:
        super().__init__(files)
        self.folder = folder
        self.ignored = tuple(ignored)
        self.unchecked = tuple(unchecked)


def source_files(path: Path) -> dict[str, Path]:
    """Name -> path of the files on disk behind `path`; a zip or a `.pt` is one, "checkpoint".

    Cheap: nothing is opened but trackers. Raises `NoCheckpointError`, `UnreadableFileError`.
    """
    if path.is_dir():
        _, inside, wanted = _content_paths(path)
        return {name: inside[name] for name in wanted}
    map_file(path)
    return {"checkpoint": path}


def open_files(path: Path, *, spool: Path) -> Files:
    """The files at `path` that carry a model; nothing is written to disk under a member's name.

    Raises `NoCheckpointError`, `UnreadableFileError`, `BadArchiveError` for an archive that is
    damaged, ambiguous or hostile, `SpoolError` when `spool` has no room to inflate one. CRCs are
    compared here up to 16 MiB in all; of larger checkpoints by `content_facts`.
    """
    files = _open(path, spool)
    if sum(region.size for region in files.values()) <= CHECKED_BELOW:
        for check in _checks(files):
            check()
    return files


def content_digests(path: Path, *, spool: Path) -> dict[str, str]:
    """Name -> SHA-256 (hex) of each file that carries the model; see `content_facts`."""
    return {name: digest for name, (digest, _) in content_facts(path, spool=spool).items()}


def content_facts(path: Path, *, spool: Path) -> dict[str, tuple[str, int]]:
    """Name -> SHA-256 (hex) and bytes of each file that carries the model at `path`, sorted.

    The one place where every byte is read: CRC-32s of the archive and of torch's records are
    checked here as well, on a second thread. Raises what `open_files` does.
    """
    files = _open(path, spool)
    with ThreadPoolExecutor(2) as pool:
        digests = {name: pool.submit(_sha256, region) for name, region in sorted(files.items())}
        for check in [pool.submit(check) for check in _checks(files)]:
            check.result()
        return {name: (digest.result(), files[name].size) for name, digest in digests.items()}


def _checks(files: Files) -> Iterator[Callable[[], None]]:
    """What compares CRC-32s: of the archive's members, and of the records of torch's zips.

    Not of the torch files in a `.distcp`: torch never compares them, and real ones are wrong.
    """
    for member in files.unchecked:
        yield partial(check_crc, member)
    for name, region in files.items():
        if _is_zip(region) and not name.endswith(".distcp"):
            yield partial(_check_torch, region)


def _check_torch(region: Region) -> None:
    check_records(read_members(region))


def _is_zip(region: Region) -> bool:
    return bytes(region.view[:2]) == b"PK"


def _open(path: Path, spool: Path) -> Files:
    if path.is_dir():
        folder, inside, wanted = _content_paths(path)
        regions = {name: map_file(inside[name], name) for name in wanted}
        return Files(regions, folder, sorted(set(inside) - set(wanted)))
    region = map_file(path)
    if _is_zip(region):
        members = read_members(region)
        if pickle_name(members) is None:
            return _archived(region, members, spool)
    elif bytes(region.view[:1]) != b"\x80":
        start = bytes(region.view[:4])
        raise NoCheckpointError(
            region.name,
            seen=f"a file that starts {start!r}" if start else "an empty file",
            expected="a zip, a file of torch.save, or a directory",
            remedy="Get the file again, or point at the checkpoint itself.",
        )
    return Files({path.name: Region(path.name, region.view)})


def _archived(region: Region, members: Mapping[str, Member], spool: Path) -> Files:
    folder = select(region.name, members, lambda name: _tracker(members[name], spool))
    names = [name[len(folder) :] for name in members if name.startswith(folder)]
    wanted = {name: members[folder + name] for name in content_files(names)}
    if not wanted:
        raise bad_archive(region.name, f"nothing that counts in {folder!r}", "a model's files")
    for member in wanted.values():
        if member.method not in (STORED, DEFLATED):
            seen = f"{member.name[:80]!r} compressed by method {member.method}"
            raise bad_archive(region.name, seen, "stored or deflated members")
    deflated = [member.size for member in wanted.values() if member.method == DEFLATED]
    if deflated:
        check_budget(region.name, sum(deflated), region.size, spool)
    regions = {
        name: member.body if member.method == STORED else inflate(member, spool)
        for name, member in wanted.items()
    }
    others = sorted(set(members) - {folder + name for name in wanted})
    unchecked = [member for member in wanted.values() if member.method == STORED]
    return Files(regions, folder, others, unchecked)


def _tracker(member: Member, spool: Path) -> bytes:
    if member.size > _TRACKER_BYTES or member.method not in (STORED, DEFLATED):
        raise bad_archive(member.body.name, f"a tracker of {member.size} bytes", "a short text")
    if member.method == STORED:
        check_crc(member)
        return bytes(member.body.view)
    check_budget(member.body.name, member.size, member.body.size, spool)
    return bytes(inflate(member, spool).view)


def _content_paths(root: Path) -> tuple[str, dict[str, Path], list[str]]:
    """The folder selected, its files by name, and the names of those that carry the model."""
    paths = _walk(root)
    read = lambda name: bytes(map_file(paths[name]).view[:_TRACKER_BYTES])  # noqa: E731
    folder = select(str(root), paths, read)
    inside = {name[len(folder) :]: paths[name] for name in paths if name.startswith(folder)}
    wanted = content_files(inside)
    if not wanted:
        raise NoCheckpointError(
            str(root / folder),
            seen="no file that carries a model",
            expected="rank files, .distcp, zarr or layer files",
            remedy="Complete the checkpoint, or set checkpoint.path to another.",
        )
    return folder, inside, wanted


def _walk(root: Path) -> dict[str, Path]:
    """Relative POSIX name -> path of every file under `root`."""
    found: dict[str, Path] = {}
    entered: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()  # a link to a directory around it
            continue
        entered.add((status.st_dev, status.st_ino))
        for file in files:
            path = Path(folder) / file
            found[path.relative_to(root).as_posix()] = path
        if len(found) > _MOST_FILES:
            raise NoCheckpointError(
                str(root),
                seen=f"over {_MOST_FILES} files",
                expected="a checkpoint's directory",
                remedy="Set checkpoint.path to the checkpoint itself.",
            )
    return found


def _sha256(region: Region) -> str:
    digest = hashlib.sha256()
    for start in range(0, region.size, _CHUNK):
        digest.update(region.view[start : start + _CHUNK])
    return digest.hexdigest()
