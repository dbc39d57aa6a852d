"""Writes pickles of exactly the structures Megatron checkpoints hold; names classes, imports none.

Protocol 2, as torch.save writes it (its `DEFAULT_PROTOCOL`), without a memo: every value is spelled
out where it stands, so equal trees give equal bytes.
"""

import pickle
import pickletools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any

from megaport.tensors import STORAGE, Array

STORAGE_CLASS = {
    "F64": "DoubleStorage",
    "F32": "FloatStorage",
    "F16": "HalfStorage",
    "BF16": "BFloat16Storage",
}


@dataclass(frozen=True)
class Global:
    """A class, function or dtype by its name, e.g. Global("torch", "float16")."""

    module: str
    name: str


@dataclass(frozen=True)
class Instance:
    """An object made by `cls.__new__(cls)` and given `state` as its `__dict__`."""

    cls: Global
    state: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Leaf:
    """A contiguous tensor whose bytes are asked for only when they are written.

    `read` yields C-contiguous chunks of `STORAGE[dtype]` that together are the tensor in order.
    One Leaf met twice is one storage, as tied weights are in torch's own files.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Iterator[Array]] = field(repr=False)

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * STORAGE[self.dtype].itemsize

    def chunks(self) -> Iterator[memoryview]:
        """Its bytes."""
        for chunk in self.read():
            yield chunk.data.cast("B")


class Pickler:
    """Turns a tree into one pickle; `leaves` then holds its tensors, each keyed by its index.

    `legacy`: torch before 1.6 ends a storage's identity with the view it is, always None here.
    """

    def __init__(self, *, legacy: bool = False) -> None:
        self.leaves: list[Leaf] = []
        self._identity_end = (None,) if legacy else ()

    def dump(self, tree: Any) -> bytes:
        """PROTO 2, the tree, STOP. Raises TypeError for a value no checkpoint holds."""
        return b"\x80\x02" + self._value(tree) + b"."

    def _value(self, value: Any) -> bytes:
        match value:
            case None | bool() | int() | float() | str():
                return pickletools.optimize(pickle.dumps(value, 2))[2:-1]
            case Leaf():
                return self._tensor(value)
            case Global():
                return f"c{value.module}\n{value.name}\n".encode()
            case Instance():
                return self._value(value.cls) + b")\x81" + self._value(dict(value.state)) + b"b"
            case dict():
                return b"}(" + self._values(x for item in value.items() for x in item) + b"u"
            case list():
                return b"](" + self._values(value) + b"e"
            case tuple():
                return b"(" + self._values(value) + b"t"
        raise TypeError(f"{type(value).__name__} has no place in a checkpoint")

    def _values(self, values: Iterable[Any]) -> bytes:
        return b"".join(map(self._value, values))

    def _tensor(self, leaf: Leaf) -> bytes:
        """`_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`."""
        if leaf not in self.leaves:
            self.leaves.append(leaf)
        storage = Global("torch", STORAGE_CLASS[leaf.dtype])
        key, count = str(self.leaves.index(leaf)), prod(leaf.shape)
        identity = self._value(("storage", storage, key, "cpu", count, *self._identity_end))
        strides = (*accumulate(leaf.shape[:0:-1], mul, initial=1),)[::-1]
        view = self._values([0, leaf.shape, strides[: len(leaf.shape)], False])
        hooks = self._value(Global("collections", "OrderedDict")) + b")R"
        rebuild = self._value(Global("torch._utils", "_rebuild_tensor_v2"))
        return rebuild + b"(" + identity + b"Q" + view + hooks + b"tR"
