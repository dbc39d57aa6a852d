"""What each pickle opcode does to the machine (opcodes: PEP 307, 3154, 574)."""

from collections.abc import Callable

from megaport.checkpoint.pickle_errors import damaged, forbidden
from megaport.checkpoint.pickle_machine import Machine
from megaport.checkpoint.pickle_operands import (
    Opcode,
    constant,
    f64,
    float_line,
    i32,
    int_line,
    line_number,
    name_line,
    pushed,
    python2_text,
    raw_bytes,
    signed,
    string_line,
    u8,
    u16,
    u32,
    u64,
    unicode_line,
    utf8_text,
)


def _mark(m: Machine) -> None:
    m.marks.append(m.stack)
    m.stack = []


def _pop(m: Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.pop_to_mark()


def _pop_mark(m: Machine) -> None:
    m.pop_to_mark()


def _duplicate(m: Machine) -> None:
    m.stack.append(m.stack[-1])


def _tuple_of(count: int) -> Opcode:
    def opcode(m: Machine) -> None:
        if len(m.stack) < count:
            raise damaged(m.where, "a tuple of more than there is", "values before it")
        m.stack[-count:] = [tuple(m.stack[-count:])]

    return opcode


def _tuple(m: Machine) -> None:
    items = m.pop_to_mark()
    m.stack.append(tuple(items))


def _list(m: Machine) -> None:
    items = m.pop_to_mark()
    m.stack.append(items)


def _dict(m: Machine) -> None:
    items = m.pop_to_mark()
    m.stack.append({})
    m.set_items(m.stack[-1], items)


def _append(m: Machine) -> None:
    value = m.stack.pop()
    m.append_items(m.stack[-1], [value])


def _appends(m: Machine) -> None:
    items = m.pop_to_mark()
    m.append_items(m.stack[-1], items)


def _set_item(m: Machine) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    m.set_items(m.stack[-1], [key, value])


def _set_items(m: Machine) -> None:
    items = m.pop_to_mark()
    m.set_items(m.stack[-1], items)


def _global(m: Machine) -> None:
    module = name_line(m)
    m.stack.append(m.refer(module, name_line(m)))


def _stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    m.stack.append(m.refer(module, name))


def _instance(m: Machine) -> None:
    target = m.refer(name_line(m), name_line(m))
    args = tuple(m.pop_to_mark())
    m.stack.append(m.call(target, args))


def _object(m: Machine) -> None:
    items = m.pop_to_mark()
    m.stack.append(m.call(items[0], tuple(items[1:])))


def _reduce(m: Machine) -> None:
    args, target = m.stack.pop(), m.stack.pop()
    m.stack.append(m.call(target, args))


def _new_object_ex(m: Machine) -> None:
    keywords, args, target = m.stack.pop(), m.stack.pop(), m.stack.pop()
    if type(keywords) is not dict or type(args) is not tuple:
        raise damaged(m.where, "an object made of other than arguments", "a tuple and a dict")
    m.charge(len(args))
    m.stack.append(m.call(target, (*args, keywords) if keywords else args))


def _build(m: Machine) -> None:
    state = m.stack.pop()
    m.build(m.stack[-1], state)


def _persistent(m: Machine) -> None:
    m.stack.append(m.load(m.stack.pop()))


def _persistent_line(m: Machine) -> None:
    m.stack.append(m.load(name_line(m)))


def _extension(read_code: Callable[[Machine], int]) -> Opcode:
    def opcode(m: Machine) -> None:
        raise forbidden(m.where, f"extension registry code {read_code(m)}")

    return opcode


def _out_of_band(m: Machine) -> None:
    raise damaged(m.where, "a buffer kept outside of the pickle", "all data in the pickle")


OPCODES: dict[int, Opcode] = {
    ord("("): _mark,
    ord("0"): _pop,
    ord("1"): _pop_mark,
    ord("2"): _duplicate,
    ord("N"): constant(None),
    0x88: constant(True),
    0x89: constant(False),
    ord("I"): int_line,
    ord("L"): int_line,
    ord("J"): pushed(i32),
    ord("K"): pushed(u8),
    ord("M"): pushed(u16),
    0x8A: signed(u8),
    0x8B: signed(i32),
    ord("F"): float_line,
    ord("G"): pushed(f64),
    ord("S"): string_line,
    ord("T"): python2_text(i32),
    ord("U"): python2_text(u8),
    ord("V"): unicode_line,
    ord("X"): utf8_text(u32),
    0x8C: utf8_text(u8),
    0x8D: utf8_text(u64),
    ord("B"): raw_bytes(u32),
    ord("C"): raw_bytes(u8),
    0x8E: raw_bytes(u64),
    0x96: raw_bytes(u64),
    ord(")"): constant(()),
    ord("t"): _tuple,
    0x85: _tuple_of(1),
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    ord("]"): lambda m: m.stack.append([]),
    ord("l"): _list,
    ord("a"): _append,
    ord("e"): _appends,
    ord("}"): lambda m: m.stack.append({}),
    ord("d"): _dict,
    ord("s"): _set_item,
    ord("u"): _set_items,
    0x8F: lambda m: m.stack.append([]),
    0x90: _appends,
    0x91: _list,
    ord("p"): lambda m: m.remember(line_number(m)),
    ord("q"): lambda m: m.remember(u8(m)),
    ord("r"): lambda m: m.remember(u32(m)),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("g"): lambda m: m.recall(line_number(m)),
    ord("h"): lambda m: m.recall(u8(m)),
    ord("j"): lambda m: m.recall(u32(m)),
    ord("c"): _global,
    0x93: _stack_global,
    ord("i"): _instance,
    ord("o"): _object,
    ord("R"): _reduce,
    0x81: _reduce,
    0x92: _new_object_ex,
    ord("b"): _build,
    ord("P"): _persistent_line,
    ord("Q"): _persistent,
    0x82: _extension(u8),
    0x83: _extension(u16),
    0x84: _extension(i32),
    0x97: _out_of_band,
    0x98: _out_of_band,
}
