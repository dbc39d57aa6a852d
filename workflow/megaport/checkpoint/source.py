"""What a path is: a zip, a file of torch.save, or a directory; and the digests of what it holds."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from megaport.checkpoint.archive import Source, open_zip
from megaport.checkpoint.files import content_paths
from megaport.checkpoint.regions import Region, map_file
from megaport.checkpoint.torch_errors import bad_torch_file
from megaport.checkpoint.zip_members import CHECKED_BELOW, check_crc, read_members
from megaport.checkpoint.zip_serialization import check_records, pickle_name

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


def _directory(root: Path) -> Source:
    folder, inside, wanted = content_paths(root)
    regions = {name: map_file(inside[name], name) for name in wanted}
    return Source(regions, folder, sorted(set(inside) - set(wanted)))


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
