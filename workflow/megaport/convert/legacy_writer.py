"""torch's serialization before 1.6, as NGC's checkpoint has: pickles, then the storages' bytes."""

import struct
from collections.abc import Iterator
from typing import Any

from megaport.convert.pickle_writer import Leaf, LegacyPickler, Pickler, leaf_bytes

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
    pickles, leaves = _pickles(tree)
    yield pickles
    for leaf in leaves:
        yield struct.pack("<q", leaf.numel)
        yield from leaf_bytes(leaf)


def legacy_size(tree: Any) -> int:
    """How many bytes `legacy_stream` gives."""
    pickles, leaves = _pickles(tree)
    return len(pickles) + sum(8 + leaf.nbytes for leaf in leaves)


def _pickles(tree: Any) -> tuple[bytes, list[Leaf]]:
    """The five pickles, and the storages in the order they follow."""
    pickler, plain = LegacyPickler(), Pickler()
    body = pickler.dump(tree)
    keys = sorted(str(index) for index in range(len(pickler.leaves)))
    parts = (plain.dump(MAGIC), plain.dump(PROTOCOL), plain.dump(SYSTEM), body, plain.dump(keys))
    return b"".join(parts), [pickler.leaves[int(key)] for key in keys]
