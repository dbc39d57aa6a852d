"""Files in both of torch's serializations, by torch and by hand, down to the opcodes of pickles."""

import io
import struct
from collections.abc import Mapping
from typing import Any

from megaport.checkpoint.regions import Region
from megaport.checkpoint.torchfile import MAGIC, PROTOCOL
from support.archives import File, zipped

SERIALIZATIONS = ("legacy", "zip")


def region(data: bytes, name: str = "model.pt") -> Region:
    return Region(name, memoryview(data))


def pickle(*parts: bytes, protocol: int = 2) -> bytes:
    """A pickle of `parts` with its header and STOP."""
    return b"\x80" + bytes([protocol]) + b"".join(parts) + b"."


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def global_(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def reduce(target: bytes, *args: bytes) -> bytes:
    return target + tuple_of(*args) + b"R"


# Every way in which a pickle can name a class or function and call it.
def _inst(module: str, name: str, *args: bytes) -> bytes:
    return b"(" + b"".join(args) + f"i{module}\n{name}\n".encode()


def _obj(module: str, name: str, *args: bytes) -> bytes:
    return b"(" + global_(module, name) + b"".join(args) + b"o"


def _newobj(module: str, name: str, *args: bytes) -> bytes:
    return global_(module, name) + tuple_of(*args) + b"\x81"


def _newobj_ex(module: str, name: str, *args: bytes) -> bytes:
    return global_(module, name) + tuple_of(*args) + b"}\x92"


ROUTES = {
    "GLOBAL": lambda m, n, *a: reduce(global_(m, n), *a),
    "STACK_GLOBAL": lambda m, n, *a: reduce(stack_global(m, n), *a),
    "INST": _inst,
    "OBJ": _obj,
    "NEWOBJ": _newobj,
    "NEWOBJ_EX": _newobj_ex,
}
EXTENSIONS = {"EXT1": b"\x82\x01", "EXT2": b"\x83\x01\x00", "EXT4": b"\x84\x01\x00\x00\x00"}
LITTLE = b"}" + text("little_endian") + b"\x88s"
FLOATS = [[0, 1, 2], [3, 4, 5]]
RECORD = {"0": struct.pack("<6f", *range(6))}  # the storage that holds them


def saved(value: Any, serialization: str) -> bytes:
    """What torch.save writes."""
    import torch

    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=serialization == "zip")
    return file.getvalue()


def storage(
    kind: str = "FloatStorage", key: str = "0", numel: int = 6, view: bytes | None = b"N"
) -> bytes:
    """A persistent id of a storage; `view` is legacy's sixth part, None for zip's five."""
    parts = [text("storage"), global_("torch", kind), text(key), text("cpu"), number(numel)]
    return tuple_of(*parts, *([] if view is None else [view])) + b"Q"


def source(serialization: str, **fields: Any) -> bytes:
    """A persistent id as this serialization has it."""
    return storage(**{"view": b"N" if serialization == "legacy" else None, **fields})


def sizes(*values: int) -> bytes:
    return tuple_of(*map(number, values))


def tensor(
    source: bytes, offset: int = 0, size: bytes | None = None, stride: bytes | None = None
) -> bytes:
    """`_rebuild_tensor_v2` of a storage, of shape [2, 3] unless told otherwise."""
    return reduce(
        global_("torch._utils", "_rebuild_tensor_v2"),
        source,
        number(offset),
        sizes(2, 3) if size is None else size,
        sizes(3, 1) if stride is None else stride,
        b"\x89",
        reduce(global_("collections", "OrderedDict")),
    )


def zip_file(body: bytes, records: Mapping[str, bytes], **others: bytes) -> bytes:
    """A zip of torch's with `body` as data.pkl and `records` by storage key."""
    files = [File(b"m/data.pkl", pickle(body))]
    files += [File(b"m/" + name.encode(), content) for name, content in others.items()]
    files += [File(b"m/data/" + key.encode(), content) for key, content in records.items()]
    return zipped(*files)


def legacy_file(
    body: bytes,
    records: Mapping[str, bytes],
    *,
    magic: int = MAGIC,
    protocol: int = PROTOCOL,
    system: bytes = LITTLE,
    keys: bytes | None = None,
    counts: Mapping[str, int] | None = None,
    after: bytes = b"",
) -> bytes:
    """A legacy file with `body` as the saved object and `records` by storage key."""
    listed = b"](" + b"".join(map(text, records)) + b"e" if keys is None else keys
    data = pickle(number(magic)) + pickle(number(protocol)) + pickle(system)
    data += pickle(body) + pickle(listed)
    for key, content in records.items():
        count = (counts or {}).get(key, len(content) // 4)
        data += struct.pack("<q", count) + content
    return data + after


def file(serialization: str, body: bytes, records: Mapping[str, bytes]) -> bytes:
    return (zip_file if serialization == "zip" else legacy_file)(body, records)
