"""torch's serialization before 1.6: five pickles, then the storages they speak of.

Source: `torch.serialization._legacy_save`. Magic number, protocol 1001, system information, the
saved object, the list of storage keys; then for each key its number of elements in 8 bytes
(little-endian) and its elements.
"""

import struct
from typing import Any

from megaport.checkpoint.pickle_reader import read_stream, skip_stream
from megaport.checkpoint.regions import Region
from megaport.checkpoint.storages import Storage, StorageId, storage_id
from megaport.checkpoint.torch_errors import bad_torch_file

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class _Storages:
    """The storages of one file: what the pickle says of them, then where their bytes lie."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.ids: dict[str, StorageId] = {}
        self.bodies: dict[str, memoryview] | None = None

    def load(self, persistent_id: Any) -> Storage:
        found = storage_id(self.region.name, persistent_id)
        known = self.ids.setdefault(found.key, found)
        if (known.kind, known.numel) != (found.kind, found.numel):
            raise bad_torch_file(self.region.name, "one storage of two kinds", "one kind each")
        return found.over(None if self.bodies is None else self.bodies[found.key])

    def locate(self, keys: Any, position: int) -> None:
        """Find the bodies that follow the list of keys; they must be all, and end the file."""
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise bad_torch_file(self.region.name, "no list of storage keys", "a list of text")
        if len(set(keys)) != len(keys) or set(keys) != set(self.ids):
            raise bad_torch_file(self.region.name, "other storages than used", "each one once")
        self.bodies = {}
        for key in keys:
            self.bodies[key], position = self._body(self.ids[key], position)
        if position != self.region.size:
            raise bad_torch_file(self.region.name, "bytes after its last storage", "none")

    def _body(self, storage: StorageId, position: int) -> tuple[memoryview, int]:
        start = position + 8
        count = self.region.sub(position, 8).view
        if struct.unpack("<q", count)[0] != storage.numel:
            seen = f"storage {storage.key[:40]!r} of another size than its pickle says"
            raise bad_torch_file(self.region.name, seen, f"{storage.numel} elements")
        return self.region.sub(start, storage.nbytes).view, start + storage.nbytes


def read_legacy(region: Region) -> Any:
    """The saved object. Its pickle is read twice: where the storages lie is known after it only."""
    position = _check_header(region)
    storages = _Storages(region)
    end = skip_stream(region, position, storages.load)
    keys, bodies = read_stream(region, end, storages.load)
    storages.locate(keys, bodies)
    value, _ = read_stream(region, position, storages.load)
    return value


def _check_header(region: Region) -> int:
    magic, position = read_stream(region, 0, _no_storage(region))
    if magic != MAGIC:
        raise bad_torch_file(region.name, "a pickle without torch's magic number", "torch.save's")
    protocol, position = read_stream(region, position, _no_storage(region))
    if protocol != PROTOCOL:
        raise bad_torch_file(region.name, "an unknown protocol", f"protocol {PROTOCOL}")
    system, position = read_stream(region, position, _no_storage(region))
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise bad_torch_file(region.name, "data that is not little-endian", "little-endian data")
    return position


def _no_storage(region: Region) -> Any:
    def load(persistent_id: Any) -> Any:
        raise bad_torch_file(region.name, "a storage in its header", "numbers")

    return load
