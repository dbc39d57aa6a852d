"""The pickle machine: a stack, marks and a memo. It can build data and nothing else."""

from collections.abc import Callable
from typing import Any

from megaport.checkpoint.pickle_bounds import check_key
from megaport.checkpoint.pickle_calls import call
from megaport.checkpoint.pickle_errors import damaged, too_large
from megaport.checkpoint.pickle_globals import refer
from megaport.checkpoint.records import Record, Reference
from megaport.checkpoint.regions import Region

PersistentLoader = Callable[[Any], Any]

# Copies that constructors make may not exceed this multiple of the bytes read so far.
_WORK_PER_BYTE = 8
_WORK_FREE = 1 << 20
# Tuples are the only keys whose hashes a file can make collide, at quadratic cost.
_MOST_TUPLE_KEYS = 8192


class Machine:
    """State of one pickle while it is read; `pickle_opcodes` holds what each opcode does to it."""

    def __init__(self, region: Region, position: int, load: PersistentLoader) -> None:
        self.where = region.name
        self.view = region.view
        self.start = position
        self.position = position
        self.load = load
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self._references: dict[tuple[Any, Any], Reference] = {}
        self._charged = 0
        self._tuple_keys = 0

    def take(self, length: int) -> memoryview:
        """The next `length` bytes of the pickle."""
        end = self.position + length
        if length < 0 or end > len(self.view):
            raise damaged(self.where, "a pickle that is cut short", f"{length} more bytes")
        part = self.view[self.position : end]
        self.position = end
        return part

    def line(self) -> bytes:
        """The text up to the next newline, of at most 4096 bytes."""
        chunk = bytes(self.view[self.position : self.position + 4097])
        length = chunk.find(b"\n")
        if length < 0:
            raise damaged(self.where, "a line without an end", "a newline within 4096 bytes")
        self.position += length + 1
        return chunk[:length]

    def charge(self, work: int) -> None:
        """Count copied elements or bytes, so that no few bytes of pickle cause much work."""
        self._charged += work
        if self._charged > _WORK_FREE + _WORK_PER_BYTE * (self.position - self.start):
            raise too_large(self.where, "a pickle that copies itself over and over", "plain data")

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise damaged(self.where, "an opcode that needs a mark", "a mark before it")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def recall(self, key: int) -> None:
        try:
            self.stack.append(self.memo[key])
        except KeyError:
            raise damaged(self.where, f"memo key {key}", "a key stored before") from None

    def refer(self, module: Any, name: Any) -> Reference:
        if not isinstance(module, str) or not isinstance(name, str):
            return refer(self.where, module, name)
        if (module, name) not in self._references:
            self._references[module, name] = refer(self.where, module, name)
        return self._references[module, name]

    def call(self, target: Any, args: Any) -> Any:
        return call(self, target, args)

    def set_item(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        self._tuple_keys += check_key(self.where, key)
        if self._tuple_keys > _MOST_TUPLE_KEYS:
            raise too_large(self.where, "too many tuples as keys", f"at most {_MOST_TUPLE_KEYS}")
        target[key] = value

    def set_items(self, target: Any, flat: list[Any]) -> None:
        """SETITEM(S): keys and values in turn, into a dict or an inert object."""
        entries = self._contents(target, dict)
        if len(flat) % 2:
            raise damaged(self.where, "a key without a value", "key and value pairs")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            self.set_item(entries, key, value)

    def append_items(self, target: Any, items: list[Any]) -> None:
        """APPEND(S) and ADDITEMS, to a list or an inert object."""
        self._contents(target, list).extend(items)

    def build(self, target: Any, state: Any) -> None:
        """BUILD: keep the state of an inert object; attributes of a dict are dropped."""
        if isinstance(target, dict):
            return  # torch puts a `_metadata` attribute on the OrderedDict of a state_dict
        if type(target) is not Record or target.state is not None:
            raise damaged(
                self.where, f"state for a {type(target).__name__}", "state for an object, once"
            )
        object.__setattr__(target, "state", state)

    def _contents(self, target: Any, kind: type) -> Any:
        if type(target) is kind:
            return target
        if type(target) is Record:
            if target.contents is None:
                object.__setattr__(target, "contents", kind())
            if type(target.contents) is kind:
                return target.contents
        raise damaged(
            self.where, f"elements for a {type(target).__name__}", f"elements for a {kind.__name__}"
        )
