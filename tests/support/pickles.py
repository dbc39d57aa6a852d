"""Pickles assembled opcode by opcode, so that an attack is what its test says and nothing else."""

import struct

from megaport.checkpoint.regions import Region


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
