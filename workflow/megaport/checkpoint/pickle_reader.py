"""Reads a pickle as data: runs the machine over its opcodes, within bounds, to STOP."""

import struct
from typing import Any

from megaport.checkpoint.pickle_bounds import check_tree
from megaport.checkpoint.pickle_errors import BadPickleError, damaged, too_large
from megaport.checkpoint.pickle_machine import Machine, PersistentLoader
from megaport.checkpoint.pickle_opcodes import OPCODES
from megaport.checkpoint.regions import Region

MOST_OPCODES = 5_000_000  # docs/how-it-works/safety.md has what the worst such pickle costs
_NEWEST_PROTOCOL = 5
_STOP, _PROTO, _FRAME = 0x2E, 0x80, 0x95
_TABLE = [OPCODES.get(code) for code in range(256)]
# Picklers write payloads from 64 KiB on between frames, with a 4 or 8 byte length (PEP 3154).
_LARGE = {0x42: 4, 0x58: 4, 0x8D: 8, 0x8E: 8, 0x96: 8}
_FROM = 1 << 16


def read_pickle(region: Region) -> Any:
    """The one pickle that `region` holds, as dicts, lists, tuples, scalars, text, bytes, Records.

    Sets become lists, paths text, named tuples, enums, arrays and every other class a `Record`;
    nothing is imported or executed. Raises `ForbiddenGlobalError` for names of code,
    `PickleTooLargeError` beyond the bounds, `BadPickleError` for anything damaged, also for bytes
    after the pickle's end.
    """
    value, end = read_stream(region, 0, lambda _: _no_storages(region))
    refuse_more(region, end)
    return value


def refuse_more(region: Region, end: int) -> None:
    """`BadPickleError` unless a pickle that ended at `end` is all there is."""
    if end != region.size:
        seen = f"{region.size - end} bytes after the end of its pickle"
        raise damaged(region.name, seen, "nothing there")


def read_stream(region: Region, position: int, load: PersistentLoader) -> tuple[Any, int]:
    """The pickle that starts at `position` and where it ends; `load` answers persistent ids."""
    value, end = _read(region, position, load)
    check_tree(region.name, value)
    return value, end


def skip_stream(region: Region, position: int, load: PersistentLoader) -> int:
    """Where the pickle at `position` ends, once `load` has been asked for all it refers to."""
    return _read(region, position, load)[1]


def _read(region: Region, position: int, load: PersistentLoader) -> tuple[Any, int]:
    machine = Machine(region, position, load)
    try:
        return _run(machine), machine.position
    except (IndexError, struct.error):
        seen = "an opcode that needs more values than there are, or a pickle that is cut short"
        raise damaged(region.name, seen, "a whole pickle") from None


def _run(machine: Machine) -> Any:
    view, opcodes, start = machine.view, _TABLE, machine.position
    fence, framed = len(view), False
    for _ in range(MOST_OPCODES):
        code = view[machine.position]
        machine.position += 1
        opcode = opcodes[code]
        if opcode is not None:
            opcode(machine)
            if machine.position >= fence:
                _check_fence(machine, fence)
                fence, framed = len(view), False
        elif code == _STOP:
            return _result(machine)
        elif code == _FRAME:
            fence, framed = _frame(machine, framed), True
        else:
            _protocol(machine, code, start)
    raise too_large(machine.where, f"over {MOST_OPCODES} opcodes", "a checkpoint's pickle")


def _result(machine: Machine) -> Any:
    if len(machine.stack) != 1 or machine.marks:
        raise damaged(machine.where, "a pickle that leaves no single value", "one value at its end")
    return machine.stack.pop()


def _protocol(machine: Machine, code: int, start: int) -> None:
    if code != _PROTO:
        raise damaged(machine.where, f"opcode {code:#04x}", "an opcode of pickle protocols 0 to 5")
    if machine.position != start + 1:
        raise damaged(machine.where, "a second pickle header", "one at the start")
    version = machine.take(1)[0]
    if version > _NEWEST_PROTOCOL:
        seen = f"pickle protocol {version}"
        raise damaged(machine.where, seen, f"at most {_NEWEST_PROTOCOL}")


def _frame(machine: Machine, framed: bool) -> int:
    """Enter a frame: its end, which no opcode may straddle."""
    length = struct.unpack("<Q", machine.take(8))[0]
    if framed or length > len(machine.view) - machine.position:
        seen = f"a frame of {length} bytes that does not fit"
        raise damaged(machine.where, seen, "frames one after the other within the file")
    return machine.position + int(length)


def _check_fence(machine: Machine, fence: int) -> None:
    """After the opcode that reached a frame's end: it ended there, and what follows is framed."""
    position, view = machine.position, machine.view
    if position >= len(view):
        raise damaged(machine.where, "a pickle that is cut short", "a STOP at its end")
    if position > fence:
        raise damaged(machine.where, "a frame shorter than its body", "whole opcodes in a frame")
    code = view[position]
    if code == _FRAME:
        return
    width = _LARGE.get(code, 0)
    length = int.from_bytes(view[position + 1 : position + 1 + width], "little")
    if not width or length < _FROM:
        raise damaged(machine.where, "a frame shorter than its body", "the pickle's end in a frame")


def _no_storages(region: Region) -> BadPickleError:
    raise damaged(region.name, "a reference to a tensor's storage", "a pickle without tensors")
