"""torch's serialization before 1.6, as NGC's checkpoint has: pickles, then the storages' bytes."""

import struct
from collections.abc import Iterator
from typing import Any

from megaport.convert.pickle_writer import LegacyPickler, Pickler

# torch/serialization.py: MAGIC_NUMBER, PROTOCOL_VERSION and the sys_info that _legacy_save writes.
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
SYSTEM = {
    "protocol_version": PROTOCOL,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}


def legacy_stream(tree: Any) -> Iterator[bytes | memoryview]:
    """The bytes of `tree` (dict, list, tuple, scalars, `Leaf` tensors), a chunk at a time.

    The same tree gives the same bytes: storages are keyed by their order in the tree, where torch
    uses memory addresses. As in torch, they follow in the order of their keys sorted as strings.
    """
    pickler = LegacyPickler()
    body = pickler.dump(tree)
    plain = Pickler()
    yield plain.dump(MAGIC) + plain.dump(PROTOCOL) + plain.dump(SYSTEM) + body
    keys = sorted(str(index) for index in range(len(pickler.leaves)))
    yield plain.dump(keys)
    for key in keys:
        leaf = pickler.leaves[int(key)]
        yield struct.pack("<q", leaf.numel)
        for chunk in leaf.read():
            yield memoryview(chunk).cast("B")
