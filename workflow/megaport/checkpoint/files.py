"""The files at a path that carry a model, mapped where they lie. Standard library only.

A path is a directory, a zip, a tar (NeMo's `.nemo`), or one file of torch.save. Names are relative
to the iteration that is selected, so that all of these, and copies elsewhere, give the same names.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType

from megaport.checkpoint.archive import (
    CHECKED_BELOW,
    DEFLATED,
    STORED,
    Member,
    bad_archive,
    check_crc,
    check_records,
    is_tar,
    is_zip,
    pickle_name,
    read_members,
)
from megaport.checkpoint.regions import Region, map_file
from megaport.checkpoint.selection import NoCheckpointError, Selection, select
from megaport.checkpoint.spool import check_budget, inflate

_MOST_FILES = 1_000_000
_TRACKER_BYTES = 4096


class Files(dict[str, Region]):
    """Name relative to the iteration's directory -> bytes, of the files that carry the model.

    `folder` is that directory within the path ("" or ending in "/"), `facts` the files that
    say what the model is (see `fact_files`), `ignored` the others, `unchecked` the members of
    an archive whose CRC-32 has not been compared yet.
    """

    def __init__(
        self,
        files: Mapping[str, Region],
        facts: Mapping[str, Region] = MappingProxyType({}),
        folder: str = "",
        ignored: Iterable[str] = (),
        unchecked: Iterable[Member] = (),
    ) -> None:
        super().__init__(files)
        self.facts = facts
        self.folder = folder
        self.ignored = tuple(ignored)
        self.unchecked = tuple(unchecked)


def source_files(path: Path) -> dict[str, Path]:
    """Name -> path of the files on disk behind `path`; an archive or a `.pt` is one, "checkpoint".

    Cheap: nothing is opened but trackers. Raises `NoCheckpointError`, `UnreadableFileError`.
    """
    if _is_folder(path):
        paths, chosen = _on_disk(path)
        return {name: paths[full] for name, full in {**chosen.facts, **chosen.content}.items()}
    map_file(path)
    return {"checkpoint": path}


def open_files(path: Path, *, spool: Path) -> Files:
    """The files at `path` that carry a model; nothing is written to disk under a member's name.

    Raises `NoCheckpointError`, `UnreadableFileError`, `BadArchiveError` for an archive that is
    damaged, ambiguous or hostile, `SpoolError` when `spool` has no room to inflate one. CRCs are
    compared here up to 16 MiB in all; of larger checkpoints by `digest_files`.
    """
    files = _open(path, spool)
    if sum(region.size for region in files.values()) <= CHECKED_BELOW:
        for check in _checks(files):
            check()
    return files


def digest_files(path: Path, *, spool: Path) -> dict[str, tuple[str, int]]:
    """Name -> SHA-256 (hex) and bytes of each file that carries the model at `path`, sorted.

    The one place where every byte is read: CRC-32s of the archive and of torch's records are
    checked here as well, on a second thread. Raises what `open_files` does.
    """
    files = _open(path, spool)
    regions = dict(sorted({**files.facts, **files}.items()))
    with ThreadPoolExecutor(2) as pool:
        digests = {name: pool.submit(_sha256, region) for name, region in regions.items()}
        for check in [pool.submit(check) for check in _checks(files)]:
            check.result()
        return {name: (digest.result(), regions[name].size) for name, digest in digests.items()}


def _checks(files: Files) -> Iterator[Callable[[], None]]:
    """What compares CRC-32s: of the archive's members, and of the records of torch's zips.

    Not of the torch files in a `.distcp`: torch never compares them, and real ones are wrong.
    """
    for member in files.unchecked:
        yield partial(check_crc, member)
    for name, region in files.items():
        if is_zip(region) and not name.endswith(".distcp"):
            yield partial(check_records, region)


def _open(path: Path, spool: Path) -> Files:
    if _is_folder(path):
        paths, chosen = _on_disk(path)
        return _opened(chosen, lambda full, name: map_file(paths[full], name))
    region = map_file(path)
    if is_zip(region):
        members = read_members(region)
        if pickle_name(members) is None:
            return _archived(region, members, spool)
    elif is_tar(region):
        from megaport.checkpoint.tar import read_tar  # tarfile, which few checkpoints need

        return _archived(region, read_tar(region), spool)
    elif bytes(region.view[:1]) != b"\x80":
        raise _unknown(region)
    return Files({path.name: Region(path.name, region.view)})


def _unknown(region: Region) -> NoCheckpointError:
    start = bytes(region.view[:4])
    packed = start[:2] == b"\x1f\x8b"
    seen = f"a file that starts {start!r}" if start else "an empty file"
    return NoCheckpointError(
        region.name,
        seen="a file that gzip compressed" if packed else seen,
        expected="a zip, an uncompressed tar, a file of torch.save, or a directory",
        remedy="Unpack it (`gunzip -c`, or `tar -xf` into an empty folder) and give what comes out."
        if packed
        else "Get the file again, or point at the checkpoint itself.",
    )


def _archived(region: Region, members: Mapping[str, Member], spool: Path) -> Files:
    chosen = select(region.name, members, lambda name: _tracker(members[name], spool))
    wanted = [members[full] for full in (*chosen.content.values(), *chosen.facts.values())]
    for member in wanted:
        if member.method not in (STORED, DEFLATED):
            seen = f"{member.name[:80]!r} compressed by method {member.method}"
            raise bad_archive(region.name, seen, "stored or deflated members")
    deflated = [member.size for member in wanted if member.method == DEFLATED]
    if deflated:
        check_budget(region.name, sum(deflated), region.size, spool)
    stored = [member for member in wanted if member.method == STORED]
    return _opened(chosen, lambda full, _: _bytes(members[full], spool), stored)


def _opened(
    chosen: Selection, bytes_of: Callable[[str, str], Region], unchecked: Iterable[Member] = ()
) -> Files:
    content, facts = (
        {name: bytes_of(full, name) for name, full in kind.items()}
        for kind in (chosen.content, chosen.facts)
    )
    return Files(content, facts, chosen.folder, chosen.ignored, unchecked)


def _bytes(member: Member, spool: Path) -> Region:
    return member.body if member.method == STORED else inflate(member, spool)


def _tracker(member: Member, spool: Path) -> bytes:
    if member.size > _TRACKER_BYTES or member.method not in (STORED, DEFLATED):
        raise bad_archive(member.body.name, f"a tracker of {member.size} bytes", "a short text")
    if member.method == STORED:
        check_crc(member)
    else:
        check_budget(member.body.name, member.size, member.body.size, spool)
    return bytes(_bytes(member, spool).view)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # too long, or not ours to look at: what opens the file says so
        return False


def _on_disk(root: Path) -> tuple[dict[str, Path], Selection]:
    """Name -> path of every file below `root`, and which of them count."""
    paths = _walk(root)

    def tracker(name: str) -> bytes:
        return bytes(map_file(paths[name]).view[:_TRACKER_BYTES])

    return paths, select(str(root), paths, tracker)


def _walk(root: Path) -> dict[str, Path]:
    """Relative POSIX name -> path of every file under `root`, through links as well.

    Raises `NoCheckpointError` where files and folders are very many, as crossing links make them.
    """
    found: dict[str, Path] = {}
    folders = [(root, tuple(map(_identity, root.resolve().parents)))]
    entered = 0
    while folders:
        folder, around = folders.pop()
        entered += 1
        here = _identity(folder)
        if here is not None and here not in around:  # else gone, or a link to a folder around it
            _, inside, files = next(os.walk(folder), ("", [], []))
            within = (*around, here)
            folders += [(folder / name, within) for name in inside]
            paths = [folder / name for name in files]
            found |= {path.relative_to(root).as_posix(): path for path in paths}
        if entered + len(found) > _MOST_FILES:
            raise NoCheckpointError(
                str(root),
                seen=f"over {_MOST_FILES} files and folders",
                expected="a checkpoint's directory",
                remedy="Set checkpoint.path to the checkpoint itself.",
            )
    return found


def _identity(folder: Path) -> tuple[int, int] | None:
    """What a folder is, whatever its name; None where it is gone or not ours to look at."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _sha256(region: Region) -> str:
    return hashlib.sha256(region.view).hexdigest()
