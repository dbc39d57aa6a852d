"""Reads a pickle as data: pickletools decodes its opcodes, a machine of ours builds inert values.

No unpickler is anywhere: nothing is imported, called or executed, whatever a pickle says.
"""

import pickletools
from collections.abc import Callable
from itertools import islice
from typing import IO, Any, cast

from megaport.checkpoint.pickle_machine import PLAIN, Machine, PersistentLoader
from megaport.checkpoint.records import Record, damaged, too_large
from megaport.checkpoint.regions import Region, RegionReader
from megaport.errors import shown_text
from megaport.tensors import Tensor

MOST_OPCODES = (
    10_000_000  # an index of 190,000 chunks; docs/how-it-works/safety.md has the worst there is
)
_NEWEST_PROTOCOL = 5
# Picklers write payloads from 64 KiB on between frames (PEP 3154).
_UNFRAMED = 1 << 16
MOST_DEPTH = 100
# A tree may share its parts, but whoever walks it meets them wherever they appear. Written out in
# full, with the path of every leaf, it may have this many characters for each byte of its pickle.
# Real ones need up to 17: class names in the .metadata of distributed checkpoints.
_SPELT_PER_BYTE = 32
_SPELT_FREE = 1 << 20
# Characters of a number, None or a tensor, and what a container takes in memory beside its parts.
_PLAIN, _CONTAINER = 8, 64

_Path = list[tuple[Any, list[Any]]]  # containers from the root down, each with parts to visit
_Size = tuple[int, int]  # leaves, and characters when written out
_SCALARS = PLAIN | {Tensor}


Operation = Callable[[Machine, Any], object]


def _every(names: str, operation: Operation) -> dict[str, Operation]:
    return dict.fromkeys(names.split(), operation)


_OPERATIONS: dict[str, Operation] = {
    **_every("INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT", Machine.push),
    **_every("STRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8", Machine.push),
    **_every("BINBYTES SHORT_BINBYTES BINBYTES8", Machine.push),
    "BYTEARRAY8": lambda m, arg: m.push(bytes(arg)),
    **_every("BINSTRING SHORT_BINSTRING", Machine.python2_text),
    "NONE": Machine.push,
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_SET": lambda m, _: m.push([]),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "MARK": Machine.mark,
    "POP": Machine.pop,
    "POP_MARK": Machine.pop_mark,
    "DUP": Machine.dup,
    **_every("PUT BINPUT LONG_BINPUT", Machine.put),
    "MEMOIZE": Machine.memoize,
    **_every("GET BINGET LONG_BINGET", Machine.get),
    "TUPLE": Machine.make_tuple,
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    **_every("LIST FROZENSET", Machine.make_list),
    "DICT": Machine.make_dict,
    "APPEND": Machine.append,
    **_every("APPENDS ADDITEMS", Machine.appends),
    "SETITEM": Machine.setitem,
    "SETITEMS": Machine.setitems,
    "GLOBAL": Machine.global_,
    "STACK_GLOBAL": Machine.stack_global,
    "INST": Machine.inst,
    "OBJ": Machine.obj,
    **_every("REDUCE NEWOBJ", Machine.reduce),
    "NEWOBJ_EX": Machine.newobj_ex,
    "BUILD": Machine.build,
    "PERSID": Machine.persid,
    "BINPERSID": Machine.binpersid,
    **_every("EXT1 EXT2 EXT4", Machine.extension),
    **_every("NEXT_BUFFER READONLY_BUFFER", Machine.out_of_band),
}


def read_pickle(region: Region, load: PersistentLoader | None = None) -> Any:
    """The one pickle that `region` holds, as dicts, lists, tuples, scalars, text, bytes, Records.

    `load` answers persistent ids, such as those of storages; without it there may be none. Sets
    become lists, paths text, named tuples, enums, arrays and every other class a `Record`; nothing
    is imported or executed. Raises `ForbiddenGlobalError` for names of code,
    `PickleTooLargeError` beyond the bounds, `BadPickleError` for anything damaged, also for bytes
    after the pickle's end.
    """
    value, end = read_stream(region, 0, load)
    if end != region.size:
        seen = f"{region.size - end} bytes after the end of its pickle"
        raise damaged(region.name, seen, "nothing there")
    return value


def read_stream(
    region: Region, position: int, load: PersistentLoader | None = None
) -> tuple[Any, int]:
    """The pickle that starts at `position`, as `read_pickle`, and where it ends."""
    value, end = skip_stream(region, position, load)
    _check_tree(region.name, value, end - position)
    return value, end


def skip_stream(region: Region, position: int, load: PersistentLoader | None) -> tuple[Any, int]:
    """The same, for a value that nobody walks: its size and depth are not bounded."""
    file = RegionReader(region, position)
    machine = Machine(region.name, load, lambda: file.tell() - position)
    frames = _Frames(region)
    try:
        opcodes = pickletools.genops(cast(IO[bytes], file))
        for opcode, arg, at in islice(opcodes, MOST_OPCODES):
            name = opcode.name
            if frames.end is not None or name == "FRAME":
                frames.check(name, arg, at or 0, file.tell())
            if name in _OPERATIONS:
                _OPERATIONS[name](machine, arg)
            elif name == "PROTO":
                _check_protocol(region, arg, at == position)
            elif name == "STOP":
                return machine.result(), file.tell()
    except IndexError:
        raise damaged(region.name, "an opcode without its values", "a whole pickle") from None
    except ValueError as error:
        seen = f"an opcode that cannot be read: {shown_text(str(error), 160)}"
        raise damaged(region.name, seen, "a whole pickle of protocols 0 to 5") from None
    raise too_large(region.name, f"over {MOST_OPCODES} opcodes", "a checkpoint's pickle")


class _Frames:
    """Frames of one pickle (PEP 3154): opcodes lie within them whole, one frame after the other."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.end: int | None = None  # of the frame that was entered last

    def check(self, name: str, arg: Any, start: int, end: int) -> None:
        """`BadPickleError` unless the opcode from `start` to `end` may be where it is."""
        inside = self.end is not None and start < self.end
        if name == "FRAME":
            if inside or arg > self.region.size - end:
                seen = f"a frame of {arg} bytes that does not fit"
                raise damaged(self.region.name, seen, "frames one after the other within the file")
            self.end = end + int(arg)
        elif self.end is not None and (end > self.end if inside else end - start < _UNFRAMED):
            raise damaged(self.region.name, "a frame shorter than its body", "opcodes in frames")


def _check_protocol(region: Region, version: Any, first: bool) -> None:
    if not first:
        raise damaged(region.name, "a second pickle header", "one at the start")
    if version > _NEWEST_PROTOCOL:
        raise damaged(region.name, f"pickle protocol {version}", f"at most {_NEWEST_PROTOCOL}")


def _check_tree(where: str, root: Any, read: int) -> None:
    """Refuse trees deeper, or larger when written out, than any checkpoint has, and cycles.

    `read` is the number of bytes of the pickle. A cycle through a Record is let be: Records are
    leaves to whoever walks the tree.
    """
    allowed = _SPELT_FREE + _SPELT_PER_BYTE * read
    sizes: dict[int, _Size] = {}  # of each finished container
    path: _Path = []
    on_path: dict[int, int] = {}
    _enter(where, root, path, on_path)
    while path:
        node, children = path[-1]
        if children:
            child = children.pop()
            if id(child) in on_path:
                _check_cycle(where, path[on_path[id(child)] :])
            elif id(child) not in sizes:
                _enter(where, child, path, on_path)
            continue
        path.pop()
        del on_path[id(node)]
        sizes[id(node)] = size = _size_of(node, sizes)
        if size[1] > allowed:
            seen = f"over {allowed} characters of names and values by repetition of shared parts"
            raise too_large(where, seen, "a plain tree")


def _enter(where: str, node: Any, path: _Path, on_path: dict[int, int]) -> None:
    if type(node) in _SCALARS:
        return
    if len(path) >= MOST_DEPTH:
        raise too_large(where, f"values nested over {MOST_DEPTH} deep", "shallow data")
    parts = _parts(node)
    if parts:
        on_path[id(node)] = len(path)
        path.append((node, [part for part in parts if type(part) not in _SCALARS]))


def _parts(node: Any) -> list[Any]:
    if type(node) is dict:
        return [*node.keys(), *node.values()]
    if type(node) is list or type(node) is tuple:
        return list(node)
    return [part for part in (node.args, node.state, node.contents) if part]  # a Record's


def _size_of(node: Any, sizes: dict[int, _Size]) -> _Size:
    """A dict's keys are spelt once for every leaf below them, as paths are."""
    leaves, spelt = 0, _CONTAINER + (len(node.name) if isinstance(node, Record) else 0)
    if type(node) is dict:
        for key, value in node.items():
            below, text = _size(value, sizes)
            leaves, spelt = leaves + below, spelt + text + below * _size(key, sizes)[1]
    else:
        for part in _parts(node):
            below, text = _size(part, sizes)
            leaves, spelt = leaves + below, spelt + text
    return leaves, spelt


def _size(node: Any, sizes: dict[int, _Size]) -> _Size:
    if type(node) is str or type(node) is bytes:
        return 1, _PLAIN + len(node)
    if id(node) in sizes:
        return sizes[id(node)]
    return 1, len(node.name) if isinstance(node, Record) else _PLAIN


def _check_cycle(where: str, cycle: _Path) -> None:
    if not any(isinstance(node, Record) for node, _ in cycle):
        raise damaged(where, "a container that contains itself", "a tree")
