"""Both of torch's serializations, written without torch; the same tree gives the same bytes.

A tree is made of dicts, lists, tuples, scalars, Namespaces and `Leaf` tensors; memory is one leaf.
Pickles are of exactly the structures Megatron checkpoints hold; they name classes, and nothing here
imports any. Protocol 2, as torch.save writes it (its `DEFAULT_PROTOCOL`), without a memo: every
value is spelled out where it stands, so equal trees give equal bytes.
"""

import pickle
import pickletools
import struct
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from operator import mul
from typing import IO, Any

from megaport.checkpoint.storages import KINDS
from megaport.checkpoint.torchfile import MAGIC, PROTOCOL
from megaport.tensors import FLOATS, STORAGE, Array

Chunk = bytes | memoryview

STORAGE_CLASS = {dtype: name for name, dtype in KINDS.items() if dtype in FLOATS}

# The oldest date a zip can hold (APPNOTE 4.4.6): no time of ours enters a file.
EPOCH = (1980, 1, 1, 0, 0, 0)
# torch maps tensors in place where data is aligned so (PyTorchStreamWriter's kFieldAlignment).
ALIGNMENT = 64
# Members near 4 GiB need ZIP64 fields.
ZIP64_FROM = 1 << 30
ZIP64_EXTRA = 20
# The sys_info that torch/serialization.py's _legacy_save writes.
SYSTEM = {
    "protocol_version": PROTOCOL,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}


@dataclass(frozen=True)
class Global:
    """A class, function or dtype by its name, e.g. Global("torch", "float16")."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Leaf:
    """A tensor whose bytes are asked for only when they are written.

    `read` gives it, C-contiguous and of `STORAGE[dtype]`; a view of a mapped file takes no memory.
    One Leaf met twice is one storage, as tied weights are in torch's own files.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Array] = field(repr=False)

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * STORAGE[self.dtype].itemsize

    def bytes(self) -> memoryview:
        return self.read().data.cast("B")


class Pickler:
    """Turns a tree into one pickle; `leaves` then holds its tensors, each keyed by its index.

    `legacy`: torch before 1.6 ends a storage's identity with the view it is, always None here.
    """

    def __init__(self, *, legacy: bool = False) -> None:
        self.leaves: list[Leaf] = []
        self._identity_end = (None,) if legacy else ()

    def dump(self, tree: Any) -> bytes:
        """PROTO 2, the tree, STOP. Raises TypeError for a value no checkpoint holds."""
        return b"\x80\x02" + self._value(tree) + b"."

    def _value(self, value: Any) -> bytes:
        match value:
            case None | bool() | int() | float() | str():
                return pickletools.optimize(pickle.dumps(value, 2))[2:-1]
            case Leaf():
                return self._tensor(value)
            case Global():
                return f"c{value.module}\n{value.name}\n".encode()
            case Namespace():
                made = self._value(Global("argparse", "Namespace")) + b")\x81"
                return made + self._value(vars(value)) + b"b"
            case dict():
                return b"}(" + self._values(x for item in value.items() for x in item) + b"u"
            case list():
                return b"](" + self._values(value) + b"e"
            case tuple():
                return b"(" + self._values(value) + b"t"
        raise TypeError(f"{type(value).__name__} has no place in a checkpoint")

    def _values(self, values: Iterable[Any]) -> bytes:
        return b"".join(map(self._value, values))

    def _tensor(self, leaf: Leaf) -> bytes:
        """`_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`."""
        if leaf not in self.leaves:
            self.leaves.append(leaf)
        storage = Global("torch", STORAGE_CLASS[leaf.dtype])
        key, count = str(self.leaves.index(leaf)), prod(leaf.shape)
        identity = self._value(("storage", storage, key, "cpu", count, *self._identity_end))
        strides = (*accumulate(leaf.shape[:0:-1], mul, initial=1),)[::-1]
        view = self._values([0, leaf.shape, strides[: len(leaf.shape)], False])
        hooks = self._value(Global("collections", "OrderedDict")) + b")R"
        rebuild = self._value(Global("torch._utils", "_rebuild_tensor_v2"))
        return rebuild + b"(" + identity + b"Q" + view + hooks + b"tR"


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
            add_member(archive, f"{root}/data/{key}", [leaf.bytes()], large=large)
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
        yield leaf.bytes()


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
