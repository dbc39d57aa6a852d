"""Operands of pickle opcodes: numbers, text and bytes as PEP 307, 3154 and 574 encode them."""

import codecs
import struct
from collections.abc import Callable

from megaport.checkpoint.pickle_errors import damaged, too_large
from megaport.checkpoint.pickle_machine import Machine

Opcode = Callable[[Machine], None]
MOST_INT_BYTES = 255  # torch seeds and RNG words need 8

_U16, _U32, _U64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
_I32, _F64 = struct.Struct("<i"), struct.Struct(">d")


def constant(value: object) -> Opcode:
    return lambda m: m.stack.append(value)


def u8(m: Machine) -> int:
    value = m.view[m.position]
    m.position += 1
    return value


def u16(m: Machine) -> int:
    m.position += 2
    value: int = _U16.unpack_from(m.view, m.position - 2)[0]
    return value


def u32(m: Machine) -> int:
    m.position += 4
    value: int = _U32.unpack_from(m.view, m.position - 4)[0]
    return value


def u64(m: Machine) -> int:
    m.position += 8
    value: int = _U64.unpack_from(m.view, m.position - 8)[0]
    return value


def i32(m: Machine) -> int:
    m.position += 4
    value: int = _I32.unpack_from(m.view, m.position - 4)[0]
    return value


def f64(m: Machine) -> float:
    return float(_F64.unpack(m.take(8))[0])


def pushed(read: Callable[[Machine], object]) -> Opcode:
    def opcode(m: Machine) -> None:
        m.stack.append(read(m))

    return opcode


def utf8_text(read_length: Callable[[Machine], int]) -> Opcode:
    def opcode(m: Machine) -> None:
        part = m.take(read_length(m))
        try:
            m.stack.append(str(part, "utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise damaged(m.where, "text that is not UTF-8", "UTF-8") from None

    return opcode


def raw_bytes(read_length: Callable[[Machine], int]) -> Opcode:
    return pushed(lambda m: bytes(m.take(read_length(m))))


def python2_text(read_length: Callable[[Machine], int]) -> Opcode:
    """Python 2 `str`: text where it is UTF-8 (torch.load's reading), else the bytes."""

    def opcode(m: Machine) -> None:
        part = bytes(m.take(read_length(m)))
        try:
            m.stack.append(part.decode("utf-8"))
        except UnicodeDecodeError:
            m.stack.append(part)

    return opcode


def signed(read_length: Callable[[Machine], int]) -> Opcode:
    def opcode(m: Machine) -> None:
        length = read_length(m)
        if length > MOST_INT_BYTES:
            raise too_large(m.where, f"an integer of {length} bytes", f"at most {MOST_INT_BYTES}")
        m.stack.append(int.from_bytes(m.take(length), "little", signed=True))

    return opcode


def int_line(m: Machine) -> None:
    line = m.line()
    if line in (b"00", b"01"):
        m.stack.append(line == b"01")
        return
    try:
        digits = line.removesuffix(b"L")
        if len(digits) > 600:
            raise too_large(m.where, "an integer of over 600 digits", "a number")
        m.stack.append(int(digits))
    except ValueError:
        raise damaged(m.where, "an integer that is none", "digits") from None


def float_line(m: Machine) -> None:
    try:
        m.stack.append(float(m.line()))
    except ValueError:
        raise damaged(m.where, "a float that is none", "a number") from None


def string_line(m: Machine) -> None:
    line = m.line()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise damaged(m.where, "a string without quotes", "a quoted string")
    try:
        m.stack.append(codecs.escape_decode(line[1:-1])[0].decode("utf-8"))
    except ValueError:
        raise damaged(m.where, "a string that cannot be decoded", "ASCII") from None


def unicode_line(m: Machine) -> None:
    try:
        m.stack.append(m.line().decode("raw-unicode-escape"))
    except ValueError:
        raise damaged(m.where, "text that cannot be decoded", "raw-unicode-escape") from None


def line_number(m: Machine) -> int:
    line = m.line()
    if not line.isdigit() or len(line) > 12:
        raise damaged(m.where, "a memo key that is no number", "digits")
    return int(line)


def name_line(m: Machine) -> str:
    try:
        return m.line().decode("utf-8")
    except UnicodeDecodeError:
        raise damaged(m.where, "a class name that is not UTF-8", "UTF-8") from None
