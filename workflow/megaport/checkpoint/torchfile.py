"""One file that torch.save wrote, in either serialization, as data: no torch, nothing executed.

Since 1.6 a zip of `NAME/data.pkl` and a record `NAME/data/KEY` a storage, stored, so that its bytes
are used where they lie (`torch.serialization._save`, `caffe2/serialize/inline_container.cc`).
Before, five pickles (magic number, protocol, system information, the object, the list of storage
keys), then for each key its number of elements in 8 bytes and its elements (`_legacy_save`).
"""

import struct
from dataclasses import replace
from functools import partial
from typing import Any

from megaport.checkpoint.archive import STORED, Member, is_zip, pickle_name, read_members
from megaport.checkpoint.pickle import read_pickle, read_stream, skip_stream
from megaport.checkpoint.regions import Region
from megaport.checkpoint.storages import Storage, storage_of
from megaport.errors import MegaportError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class BadTorchFileError(MegaportError):
    """Not a file of torch.save, or one that is damaged, big-endian or of another format."""


_bad = partial(
    BadTorchFileError,
    remedy="Get the file again, or point at the file that holds the model's weights.",
)


def read_torch(data: Region) -> Any:
    """What was saved: dicts, lists, tuples, scalars, text, bytes, `Tensor` views and `Record`s.

    Tensors are views over the mapped file. One whose values cannot be read (complex, FP8,
    quantized, sparse, of a class nobody knows) is `Unreadable`, any other unknown object a
    `Record`. Raises `BadTorchFileError`, `BadPickleError` (`ForbiddenGlobalError`,
    `PickleTooLargeError`) or `BadArchiveError`. Like torch's own reader, it compares no CRCs:
    `files` does, where every byte is read anyhow.
    """
    start = bytes(data.view[:4])
    if is_zip(data):
        return _read_zipped(data)
    if start[:1] == b"\x80":
        return _read_legacy(data)
    seen = f"a file of {data.size} bytes that starts {start!r}" if start else "an empty file"
    raise _bad(data.name, seen, "a file that torch.save wrote")


def _read_zipped(region: Region) -> Any:
    members = read_members(region)
    name = pickle_name(members)
    if name is None:
        raise _bad(region.name, "a zip without data.pkl", "a zip that torch.save wrote")
    prefix = name.removesuffix("data.pkl")
    if any(member.method != STORED for member in members.values()):
        raise _bad(region.name, "compressed records", "stored records, as torch writes")
    if f"{prefix}constants.pkl" in members:
        raise _bad(region.name, "a TorchScript program", "a checkpoint of torch.save")
    order = members.get(f"{prefix}byteorder")
    if order is not None and bytes(order.body.view) != b"little":
        raise _bad(region.name, "data that is not little-endian", "little-endian data")

    def load(persistent_id: Any) -> Storage:
        found = storage_of(region.name, persistent_id)
        body = _record(region, members.get(f"{prefix}data/{found.key}"), found)
        return replace(found, body=body)

    return read_pickle(members[name].body, load)


def _record(region: Region, member: Member | None, storage: Storage) -> memoryview:
    called = f"storage {storage.key[:40]!r}"
    if member is None:
        raise _bad(region.name, f"no record for {called}", "a record for every storage")
    if member.body.size != storage.nbytes:
        seen = f"{called} of {member.body.size} bytes"
        raise _bad(region.name, seen, f"{storage.nbytes} bytes, as its pickle says")
    return member.body.view


def _read_legacy(region: Region) -> Any:
    """The saved object. Its pickle is read twice: where the storages lie is known after it only."""
    position = _check_header(region)
    storages = _Storages(region)
    _, end = skip_stream(region, position, storages.load)
    keys, bodies = read_stream(region, end, storages.load)
    storages.locate(keys, bodies)
    value, _ = read_stream(region, position, storages.load)
    return value


def _check_header(region: Region) -> int:
    magic, position = read_stream(region, 0)
    if magic != MAGIC:
        raise _bad(region.name, "a pickle without torch's magic number", "torch.save's")
    protocol, position = read_stream(region, position)
    if protocol != PROTOCOL:
        raise _bad(region.name, "an unknown protocol", f"protocol {PROTOCOL}")
    system, position = read_stream(region, position)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _bad(region.name, "data that is not little-endian", "little-endian data")
    return position


class _Storages:
    """The storages of a legacy file: what the pickle says of them, then where their bytes lie."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.known: dict[str, Storage] = {}
        self.bodies: dict[str, memoryview] = {}

    def load(self, persistent_id: Any) -> Storage:
        found = storage_of(self.region.name, persistent_id)
        known = self.known.setdefault(found.key, found)
        if (known.name, known.numel) != (found.name, found.numel):
            raise _bad(self.region.name, "one storage of two kinds", "one kind each")
        return replace(found, body=self.bodies.get(found.key))

    def locate(self, keys: Any, position: int) -> None:
        """Find the bodies that follow the list of keys; they must be all, and end the file."""
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise _bad(self.region.name, "no list of storage keys", "a list of text")
        if len(set(keys)) != len(keys) or set(keys) != set(self.known):
            raise _bad(self.region.name, "other storages than used", "each one once")
        for key in keys:
            storage = self.known[key]
            count = self.region.sub(position, 8).view
            if struct.unpack("<q", count)[0] != storage.numel:
                seen = f"storage {key[:40]!r} of another size than its pickle says"
                raise _bad(self.region.name, seen, f"{storage.numel} elements")
            self.bodies[key] = self.region.sub(position + 8, storage.nbytes).view
            position += 8 + storage.nbytes
        if position != self.region.size:
            raise _bad(self.region.name, "bytes after its last storage", "none")
