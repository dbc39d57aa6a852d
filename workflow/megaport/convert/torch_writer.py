"""Both of torch's serializations, written without torch; the same tree gives the same bytes.

A tree is made of dicts, lists, tuples, scalars and `Leaf` tensors; memory is one leaf's chunk.
"""

import struct
import zipfile
from collections.abc import Iterable, Iterator
from math import prod
from typing import IO, Any

from megaport.convert.pickle_writer import Pickler

Chunk = bytes | memoryview

# The oldest date a zip can hold (APPNOTE 4.4.6): no time of ours enters a file.
EPOCH = (1980, 1, 1, 0, 0, 0)
# torch maps tensors in place where data is aligned so (PyTorchStreamWriter's kFieldAlignment).
ALIGNMENT = 64
# Members near 4 GiB need ZIP64 fields.
ZIP64_FROM = 1 << 30
ZIP64_EXTRA = 20
# torch/serialization.py: MAGIC_NUMBER, PROTOCOL_VERSION and the sys_info that _legacy_save writes.
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
SYSTEM = {
    "protocol_version": PROTOCOL,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}


def write_torch_zip(tree: Any, file: IO[bytes], root: str) -> None:
    """Write `tree` as torch.save does since torch 1.6, to seekable `file`.

    `root` is the folder that all members are in, as torch names it after the file.
    """
    pickler = Pickler()
    body = pickler.dump(tree)
    with zipfile.ZipFile(file, "w") as archive:
        add_member(archive, f"{root}/data.pkl", [body])
        add_member(archive, f"{root}/byteorder", [b"little"])
        for key, leaf in enumerate(pickler.leaves):
            large = leaf.nbytes >= ZIP64_FROM
            add_member(archive, f"{root}/data/{key}", leaf.chunks(), large=large)
        add_member(archive, f"{root}/version", [b"3\n"])


def legacy_stream(tree: Any) -> Iterator[Chunk]:
    """The bytes of `tree` as torch wrote before 1.6: five pickles, then the storages' bytes.

    Storages are keyed by their order in the tree, where torch uses memory addresses. As in torch,
    they follow in the order of their keys sorted as strings.
    """
    pickler, plain = Pickler(legacy=True), Pickler()
    body = pickler.dump(tree)
    keys = sorted(str(index) for index in range(len(pickler.leaves)))
    yield from (plain.dump(MAGIC), plain.dump(PROTOCOL), plain.dump(SYSTEM), body, plain.dump(keys))
    for key in keys:
        leaf = pickler.leaves[int(key)]
        yield struct.pack("<q", prod(leaf.shape))
        yield from leaf.chunks()


def add_member(
    archive: zipfile.ZipFile,
    name: str,
    chunks: Iterable[Chunk],
    *,
    large: bool = False,
    deflate: bool = False,
) -> None:
    """Add `chunks` with a fixed date, mode 0644 and aligned data; `large`: they may reach 4 GiB."""
    member = zipfile.ZipInfo(name, EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    member.create_system, member.external_attr = 3, 0o100644 << 16
    member.extra = _padding(archive, name, ZIP64_EXTRA if large else 0)
    with archive.open(member, "w", force_zip64=large) as file:
        for chunk in chunks:
            file.write(chunk)


def _padding(archive: zipfile.ZipFile, name: str, other: int) -> bytes:
    """An extra field ("FB", as torch's) that puts the data behind the local header on ALIGNMENT."""
    header = 30 + len(name.encode()) + other + 4
    position = archive.fp.tell() if archive.fp else 0
    return b"FB" + struct.pack("<H", pad := -(position + header) % ALIGNMENT) + bytes(pad)
