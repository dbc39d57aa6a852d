"""Storages: the flat arrays of elements that torch tensors are views of."""

from dataclasses import dataclass
from typing import Any

from megaport.checkpoint.pickle_errors import BadPickleError, damaged
from megaport.checkpoint.records import Name, Record
from megaport.errors import shown_text

# torch's storage classes: safetensors dtype name (None: a kind no Megatron GPT-2 weight has) and
# bytes per element. Source: torch.storage._dtype_to_storage_type_map of torch 2.x.
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
_MOST_ELEMENTS = 1 << 58


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Storage(Record):
    """`numel` elements of `dtype` (None: of a kind we cannot read) in `body`, `itemsize` each.

    `body` is None while it is not known where the bytes lie.
    """

    dtype: str | None = None
    itemsize: int = 1
    numel: int = 0
    body: memoryview | None = None


@dataclass(frozen=True)
class StorageId:
    """What torch's persistent id says of a storage; `part` is (offset, numel) in elements."""

    kind: str
    key: str
    numel: int
    part: tuple[int, int] | None

    @property
    def nbytes(self) -> int:
        return self.numel * _KINDS[self.kind][1]

    def over(self, body: memoryview | None) -> Storage:
        """The storage in `body`, which holds exactly its bytes, or the part of it that is meant."""
        dtype, size = _KINDS[self.kind]
        offset, numel = self.part or (0, self.numel)
        within = None if body is None else body[offset * size : (offset + numel) * size]
        name = f"torch.{self.kind}"
        return Storage(name, dtype=dtype, itemsize=size, numel=numel, body=within)


def storage_id(where: str, said: Any) -> StorageId:
    """Check a persistent id ("storage", class, key, location, numel[, (key, offset, numel)]).

    torch's legacy files have the sixth part (`torch.serialization._legacy_save`).
    Raises `BadPickleError` when it is not one.
    """
    if not isinstance(said, tuple) or len(said) not in (5, 6) or said[0] != "storage":
        raise _bad_id(where, f"a persistent id that is {shown_text(said)}, or not of a storage")
    _, kind, key, location, numel, part = said if len(said) == 6 else (*said, None)
    if not isinstance(key, str) or not isinstance(location, str):
        raise _bad_id(where, "a storage whose key or location is not text")
    count = _count(where, numel)
    return StorageId(_kind(where, kind), key, count, _part(where, part, count))


def _part(where: str, part: Any, most: int) -> tuple[int, int] | None:
    if part is None:
        return None
    if not isinstance(part, tuple) or len(part) != 3 or not isinstance(part[0], str):
        raise _bad_id(where, f"a storage view that is {shown_text(part)}")
    offset, numel = _count(where, part[1]), _count(where, part[2])
    if offset + numel > most:
        raise _bad_id(where, f"a view of {numel} elements at {offset} in a storage of {most}")
    return offset, numel


def _kind(where: str, kind: Any) -> str:
    module, _, name = kind.name.rpartition(".") if isinstance(kind, Name) else ("", "", "")
    if module not in _MODULES or name not in _KINDS:
        raise _bad_id(where, f"a storage of class {shown_text(name or kind)}")
    return str(name)


def _count(where: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MOST_ELEMENTS:
        raise _bad_id(where, f"a storage size or offset of {shown_text(value)}")
    return value


def _bad_id(where: str, seen: str) -> BadPickleError:
    return damaged(where, seen, "a persistent id of a torch storage")
