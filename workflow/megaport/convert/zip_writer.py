"""torch's zip serialization, byte-reproducible: one writer for torch files and for archives."""

import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from megaport.convert.pickle_writer import Pickler, leaf_bytes

Chunk = bytes | memoryview

# The oldest date a zip can hold (APPNOTE 4.4.6): no time of ours enters a file.
EPOCH = (1980, 1, 1, 0, 0, 0)
# torch maps tensors in place where data is aligned so (PyTorchStreamWriter's kFieldAlignment).
ALIGNMENT = 64
# Members near 4 GiB need ZIP64 fields; one clear limit, so that equal content has equal headers.
ZIP64_FROM = 1 << 30
ZIP64_EXTRA = 20


def write_torch_zip(tree: Any, file: IO[bytes], root: str) -> None:
    """Write `tree` (containers, scalars, `Leaf` tensors) as torch.save's zip to seekable `file`.

    `root` is the folder that all members are in, as torch names it after the file. Reading it needs
    torch 1.6 or later. Memory is one leaf's chunk.
    """
    pickler = Pickler()
    body = pickler.dump(tree)
    with zipfile.ZipFile(file, "w") as archive:
        add_member(archive, f"{root}/data.pkl", [body], size=len(body))
        add_member(archive, f"{root}/byteorder", [b"little"], size=6)
        for key, leaf in enumerate(pickler.leaves):
            add_member(archive, f"{root}/data/{key}", leaf_bytes(leaf), size=leaf.nbytes)
        add_member(archive, f"{root}/version", [b"3\n"], size=2)


def add_member(
    archive: zipfile.ZipFile,
    name: str,
    chunks: Iterable[Chunk],
    *,
    size: int,
    deflate: bool = False,
) -> None:
    """Add `chunks`, `size` bytes or about, with a fixed date, mode 0644 and aligned data."""
    member = zipfile.ZipInfo(name, EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    member.create_system, member.external_attr = 3, 0o100644 << 16
    large = size >= ZIP64_FROM
    member.extra = _padding(archive, name, ZIP64_EXTRA if large else 0)
    with archive.open(member, "w", force_zip64=large) as file:
        for chunk in chunks:
            file.write(chunk)


def _padding(archive: zipfile.ZipFile, name: str, other: int) -> bytes:
    """An extra field ("FB", as torch's) that puts the data behind the local header on ALIGNMENT."""
    header = 30 + len(name.encode()) + other + 4
    position = archive.fp.tell() if archive.fp else 0
    return b"FB" + struct.pack("<H", pad := -(position + header) % ALIGNMENT) + bytes(pad)


def write_archive(
    path: Path, members: Iterable[tuple[str, Iterable[Chunk], int]], *, deflate: bool
) -> None:
    """A zip at `path` of (name, chunks, size) in the order given."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, chunks, size in members:
            add_member(archive, name, chunks, size=size, deflate=deflate)
