"""Storages: the flat arrays of elements that torch tensors are views of."""

from dataclasses import dataclass
from typing import Any

from megaport.checkpoint.pickle_errors import BadPickleError, damaged, shown
from megaport.checkpoint.records import Record, Reference

# torch's storage classes: safetensors dtype name (None: a kind no Megatron GPT-2 weight has, whose
# tensors are refused only where they are needed) and bytes per element.
# Source: torch.storage._dtype_to_storage_type_map of torch 2.x.
_KINDS: dict[str, tuple[str | None, int]] = {
    "DoubleStorage": ("F64", 8),
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
    "ComplexFloatStorage": (None, 8),
    "ComplexDoubleStorage": (None, 16),
    "QInt8Storage": (None, 1),
    "QUInt8Storage": (None, 1),
    "QInt32Storage": (None, 4),
    "QUInt4x2Storage": (None, 1),
    "QUInt2x4Storage": (None, 1),
    "UntypedStorage": ("U8", 1),
    "_UntypedStorage": ("U8", 1),
}
_MODULES = ("torch", "torch.cuda", "torch.storage")

# torch.<dtype> names, for tensors over untyped storages (torch._utils._rebuild_tensor_v3).
DTYPES: dict[str, str] = {
    "torch.float64": "F64",
    "torch.double": "F64",
    "torch.float32": "F32",
    "torch.float": "F32",
    "torch.float16": "F16",
    "torch.half": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
}
_MOST_BYTES = 1 << 62


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Storage(Record):
    """`numel` elements of `dtype` (None: of a kind we cannot name) in `body`, `itemsize` each."""

    dtype: str | None = None
    itemsize: int = 1
    numel: int = 0
    body: memoryview | None = None


@dataclass(frozen=True)
class StorageId:
    """What torch's persistent id says of a storage; `view` is (key, offset, numel) in elements."""

    kind: str
    key: str
    numel: int
    view: tuple[str, int, int] | None

    @property
    def itemsize(self) -> int:
        return _KINDS[self.kind][1]

    @property
    def nbytes(self) -> int:
        return self.numel * self.itemsize

    def over(self, body: memoryview | None) -> Storage:
        """The storage in `body`, which holds exactly its bytes, or the part that `view` names.

        None for a body whose place is not known yet.
        """
        dtype, size = _KINDS[self.kind]
        numel = self.numel
        if self.view is not None:
            _, offset, numel = self.view
            body = None if body is None else body[offset * size : (offset + numel) * size]
        name = f"torch.{self.kind}"
        return Storage(name, dtype=dtype, itemsize=size, numel=numel, body=body)


def storage_id(where: str, persistent_id: Any) -> StorageId:
    """Check a persistent id ("storage", class, key, location, numel[, view]).

    torch's legacy files have the sixth part (`torch.serialization._legacy_save`).
    Raises `BadPickleError` when it is not one.
    """
    if not isinstance(persistent_id, tuple) or len(persistent_id) not in (5, 6):
        raise _bad_id(where, f"a persistent id that is {shown(persistent_id)}")
    tag, kind, key, location, numel = persistent_id[:5]
    if tag != "storage":
        raise _bad_id(where, f"a persistent id of {shown(tag)}")
    if not isinstance(key, str) or not isinstance(location, str):
        raise _bad_id(where, "a storage whose key or location is not text")
    storage = StorageId(_kind(where, kind), key, _count(where, numel), None)
    if len(persistent_id) == 5 or persistent_id[5] is None:
        return storage
    return StorageId(storage.kind, storage.key, storage.numel, _view(where, storage, persistent_id))


def _view(where: str, storage: StorageId, persistent_id: tuple[Any, ...]) -> tuple[str, int, int]:
    view = persistent_id[5]
    if not isinstance(view, tuple) or len(view) != 3 or not isinstance(view[0], str):
        raise _bad_id(where, f"a storage view that is {shown(view)}")
    offset, numel = _count(where, view[1]), _count(where, view[2])
    if offset + numel > storage.numel:
        raise _bad_id(
            where, f"a view of {numel} elements at {offset} in a storage of {storage.numel}"
        )
    return view[0], offset, numel


def _kind(where: str, kind: Any) -> str:
    module, _, name = kind.name.rpartition(".") if isinstance(kind, Reference) else ("", "", "")
    if module not in _MODULES or name not in _KINDS:
        raise _bad_id(where, f"a storage of class {shown(name or kind)}")
    return name


def _count(where: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MOST_BYTES // 16:
        raise _bad_id(where, f"a storage size or offset of {shown(value)}")
    return value


def _bad_id(where: str, seen: str) -> BadPickleError:
    return damaged(where, seen, "a persistent id of a torch storage")
