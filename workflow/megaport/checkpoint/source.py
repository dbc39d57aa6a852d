"""What a path is: a zip, a file of torch.save, or a directory; and the digests of what it holds."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from megaport.checkpoint.archive import Source, open_zip
from megaport.checkpoint.content_files import content_files
from megaport.checkpoint.regions import Region, map_file
from megaport.checkpoint.selection import NoCheckpointError, select
from megaport.checkpoint.torch_errors import bad_torch_file
from megaport.checkpoint.zip_members import CHECKED_BELOW, check_crc, read_members
from megaport.checkpoint.zip_serialization import check_records, pickle_name

_MOST_FILES = 1_000_000
_CHUNK = 1 << 22


def open_source(path: Path, *, spool: Path) -> Source:
    """The files at `path` that carry a model, mapped: a zip, a `.pt` of either kind, a directory.

    Names are relative to the iteration that the tracker (or the lone iteration) selects, so that
    a zip, a directory and a copy of it elsewhere give the same names. Raises `NoCheckpointError`,
    `UnreadableFileError`, `BadArchiveError`, `SpoolError` or `BadTorchFileError`.
    CRCs are compared here up to 16 MiB in all; of larger checkpoints by `content_digests`.
    """
    source = _open(path, spool)
    if sum(region.size for region in source.values()) <= CHECKED_BELOW:
        for region in source.values():
            _check_records(region)
    return source


def _open(path: Path, spool: Path) -> Source:
    if path.is_dir():
        return _directory(path)
    region = map_file(path)
    start = bytes(region.view[:4])
    if start[:2] == b"PK" and pickle_name(list(read_members(region))) is None:
        return open_zip(region, spool=spool)
    if start[:2] != b"PK" and start[:1] != b"\x80":
        seen = f"a file that starts {start!r}" if start else "an empty file"
        raise bad_torch_file(region.name, seen, "a zip, a file of torch.save, or a directory")
    return Source({path.name: Region(path.name, region.view)}, "", [])


def source_files(path: Path) -> dict[str, Path]:
    """Name -> path of the files on disk behind `path`; a zip or a `.pt` is one, "checkpoint".

    Cheap: nothing is opened but trackers. Raises `NoCheckpointError`, `UnreadableFileError`.
    """
    if path.is_dir():
        _, inside, wanted = _content_paths(path)
        return {name: inside[name] for name in wanted}
    map_file(path)
    return {"checkpoint": path}


def content_digests(path: Path, *, spool: Path) -> dict[str, str]:
    """Name -> SHA-256 (hex) of each file that carries the model; see `content_facts`."""
    return {name: digest for name, (digest, _) in content_facts(path, spool=spool).items()}


def content_facts(path: Path, *, spool: Path) -> dict[str, tuple[str, int]]:
    """Name -> SHA-256 (hex) and bytes of each file that carries the model at `path`, sorted.

    The one place where every byte is read: CRC-32s of the zip and of torch's records are checked
    here as well, on a second thread. Raises what `open_source` does.
    """
    source = _open(path, spool)
    with ThreadPoolExecutor(2) as pool:
        digests = {name: pool.submit(_sha256, region) for name, region in sorted(source.items())}
        checks = [pool.submit(check_crc, member) for member in source.unchecked]
        checks += [pool.submit(_check_records, region) for region in source.values()]
        for check in checks:
            check.result()
        return {name: (digest.result(), source[name].size) for name, digest in digests.items()}


def _content_paths(root: Path) -> tuple[str, dict[str, Path], list[str]]:
    """The folder selected, its files by name, and the names of those that carry the model."""
    paths = _walk(root)
    folder = select(str(root), paths, lambda name: bytes(map_file(paths[name]).view[:4096]))
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


def _directory(root: Path) -> Source:
    folder, inside, wanted = _content_paths(root)
    regions = {name: map_file(inside[name], name) for name in wanted}
    return Source(regions, folder, sorted(set(inside) - set(wanted)))


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


def _check_records(region: Region) -> None:
    """CRCs of one torch file's records.

    Not of the torch files in a `.distcp`: torch never compares them, and real ones are wrong.
    """
    if region.name.endswith(".pt") and bytes(region.view[:2]) == b"PK":
        check_records(read_members(region))
