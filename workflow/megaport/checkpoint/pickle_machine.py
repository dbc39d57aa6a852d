"""The pickle machine: a stack, marks and a memo. It can build data and nothing else."""

from collections.abc import Callable
from typing import Any

from megaport.checkpoint.names import refer
from megaport.checkpoint.pickle_values import call
from megaport.checkpoint.records import Name, Record, Unreadable, damaged, forbidden, too_large
from megaport.errors import shown_text

PersistentLoader = Callable[[Any], Any]

# Copies that constructors make may not exceed this multiple of the bytes read so far.
_WORK_PER_BYTE = 8
_WORK_FREE = 1 << 20
# Tuples are the only keys whose hashes a file can make collide, at quadratic cost.
_MOST_TUPLE_KEYS = 8192
# torch's magic number has 80 bits, a seed 64, the largest state of a random generator 128.
_MOST_BITS = 256
_INERT = (Record, Unreadable)
PLAIN = frozenset({int, float, bool, str, bytes, type(None)})


class Machine:
    """The state of one pickle while it is read; `read` gives the number of its bytes read so far.

    A method named like an opcode does what it does, given the operand that pickletools decoded.
    """

    def __init__(self, where: str, load: PersistentLoader | None, read: Callable[[], int]) -> None:
        self.where = where
        self._read = read
        self._load = load
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._names: dict[tuple[str, str], Name] = {}
        self._charged = 0
        self._tuple_keys = 0

    def result(self) -> Any:
        if len(self._stack) != 1 or self._marks:
            raise damaged(self.where, "a pickle that leaves no single value", "one at its end")
        return self._stack.pop()

    def charge(self, work: int) -> None:
        """Count copied elements or bytes, so that no few bytes of pickle cause much work."""
        self._charged += work
        if self._charged > _WORK_FREE + _WORK_PER_BYTE * self._read():
            raise too_large(self.where, "a pickle that copies itself over and over", "plain data")

    def set_key(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        """`target[key] = value`, for keys that hash quickly."""
        self._tuple_keys += _check_key(self.where, key)
        if self._tuple_keys > _MOST_TUPLE_KEYS:
            raise too_large(self.where, "too many tuples as keys", f"at most {_MOST_TUPLE_KEYS}")
        target[key] = value

    def push(self, value: Any) -> None:
        if type(value) is int and value.bit_length() > _MOST_BITS:
            raise too_large(self.where, f"an integer of over {_MOST_BITS} bits", "a number")
        self._stack.append(value)

    def python2_text(self, arg: str) -> None:
        """Python 2's `str`: text where it is UTF-8 (torch.load's reading), else the bytes."""
        part = arg.encode("latin-1")  # as pickletools decoded it
        try:
            self._stack.append(part.decode("utf-8"))
        except UnicodeDecodeError:
            self._stack.append(part)

    def mark(self, _: None) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def pop_mark(self, _: None = None) -> list[Any]:
        if not self._marks:
            raise damaged(self.where, "an opcode that needs a mark", "a mark before it")
        items, self._stack = self._stack, self._marks.pop()
        return items

    def pop(self, _: None) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self.pop_mark()

    def dup(self, _: None) -> None:
        self._stack.append(self._stack[-1])

    def put(self, key: int) -> None:
        self._memo[key] = self._stack[-1]

    def memoize(self, _: None) -> None:
        self.put(len(self._memo))

    def get(self, key: int) -> None:
        if key not in self._memo:
            raise damaged(self.where, f"memo key {key}", "a key stored before")
        self._stack.append(self._memo[key])

    def tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise damaged(self.where, "a tuple of more than there is", "values before it")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def make_tuple(self, _: None) -> None:
        items = self.pop_mark()
        self._stack.append(tuple(items))

    def make_list(self, _: None) -> None:
        items = self.pop_mark()
        self._stack.append(items)

    def make_dict(self, _: None) -> None:
        items = self.pop_mark()
        self._stack.append({})
        self._set_items(items)

    def append(self, _: None) -> None:
        self._extend([self._stack.pop()])

    def appends(self, _: None) -> None:
        self._extend(self.pop_mark())

    def setitem(self, _: None) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def setitems(self, _: None) -> None:
        self._set_items(self.pop_mark())

    def named(self, module: Any, name: Any) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            raise damaged(self.where, "a class whose module or name is not text", "both as text")
        if (module, name) not in self._names:
            self._names[module, name] = refer(self.where, module, name)
        return self._names[module, name]

    def global_(self, arg: str) -> None:
        self._stack.append(self._of_line(arg))

    def stack_global(self, _: None) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self.named(module, name))

    def inst(self, arg: str) -> None:
        args = tuple(self.pop_mark())
        self._stack.append(call(self, self._of_line(arg), args))

    def obj(self, _: None) -> None:
        target, *args = self.pop_mark() or [None]
        self._stack.append(call(self, target, tuple(args)))

    def reduce(self, _: None) -> None:
        args, target = self._stack.pop(), self._stack.pop()
        self._stack.append(call(self, target, args))

    def newobj_ex(self, _: None) -> None:
        keywords, args, target = self._stack.pop(), self._stack.pop(), self._stack.pop()
        if type(keywords) is not dict or type(args) is not tuple:
            raise damaged(self.where, "an object made of other than arguments", "a tuple, a dict")
        self.charge(len(args))
        self._stack.append(call(self, target, (*args, keywords) if keywords else args))

    def build(self, _: None) -> None:
        """Keep the state of an inert object; attributes of a dict are dropped."""
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, dict):
            return  # torch puts a `_metadata` attribute on the OrderedDict of a state_dict
        if type(target) not in _INERT or target.state is not None:
            seen = f"state for a {type(target).__name__}"
            raise damaged(self.where, seen, "state for an object, once")
        object.__setattr__(target, "state", state)

    def persid(self, arg: Any) -> None:
        if self._load is None:
            seen = "a reference to a tensor's storage"
            raise damaged(self.where, seen, "a pickle without tensors")
        self._stack.append(self._load(arg))

    def binpersid(self, _: None) -> None:
        self.persid(self._stack.pop())

    def extension(self, code: int) -> None:
        raise forbidden(self.where, f"extension registry code {code}")

    def out_of_band(self, _: None) -> None:
        raise damaged(self.where, "a buffer kept outside of the pickle", "all data in the pickle")

    def _of_line(self, arg: str) -> Name:
        module, _, name = arg.partition(" ")  # as pickletools joins the two lines
        return self.named(module, name)

    def _set_items(self, flat: list[Any]) -> None:
        """Keys and values in turn, into the dict or inert object on the stack."""
        entries = self._contents(dict)
        if len(flat) % 2:
            raise damaged(self.where, "a key without a value", "key and value pairs")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            self.set_key(entries, key, value)

    def _extend(self, items: list[Any]) -> None:
        self._contents(list).extend(items)

    def _contents(self, kind: type) -> Any:
        target = self._stack[-1]
        if type(target) is kind:
            return target
        if type(target) in _INERT:
            if target.contents is None:
                object.__setattr__(target, "contents", kind())
            if type(target.contents) is kind:
                return target.contents
        seen = f"elements for a {type(target).__name__}"
        raise damaged(self.where, seen, f"elements for a {kind.__name__}")


def _check_key(where: str, key: Any) -> int:
    """Refuse keys whose hashing could be slow; the number of tuples in the key (0 as a rule)."""
    # Within 60 bits an int is its own hash; larger ones can be chosen to collide.
    if type(key) is int and key.bit_length() > 60:
        raise damaged(where, "a huge integer as a key", "a key of at most 60 bits")
    if type(key) in PLAIN or isinstance(key, Record):
        return 0
    if type(key) is tuple and len(key) <= 64:
        for part in key:
            if type(part) is tuple:
                raise damaged(where, "a tuple within a tuple as a key", "plain keys")
            _check_key(where, part)
        return 1
    raise damaged(where, f"a key that is {shown_text(key)}", "text or a number as a key")
