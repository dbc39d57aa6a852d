"""Megatron core's `torch_dist`, and `torch_dcp` and `fsdp_dtensor`: .metadata and .distcp files.

The first keeps args in common.pt, the others among the keys, which they put below `model.`; so does
NeMo 2.0, below `module.`. Both files are torch.distributed.checkpoint's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from megaport.checkpoint.contents import Contents
from megaport.checkpoint.families.chunks import Chunk, Whole
from megaport.checkpoint.families.dist_family import one_named, parts_of_keys
from megaport.checkpoint.model import TORCH_DCP, TORCH_DIST, Parts
from megaport.checkpoint.pickle import read_pickle
from megaport.checkpoint.records import Name, Record, Unreadable
from megaport.checkpoint.regions import Region
from megaport.checkpoint.storages import DTYPES, MOST_DIMENSIONS, shape_of
from megaport.checkpoint.torchfile import read_torch
from megaport.errors import MegaportError, shown_text
from megaport.table import Decision
from megaport.tensors import Tensor

_COMMON = ("args", "checkpoint_version", "iteration")
_ERAS = {
    TORCH_DIST: "2023 on: Megatron core, torch_dist",
    TORCH_DCP: "2025 on: Megatron core, torch_dcp or fsdp_dtensor",
}
# The class name of torch.distributed.checkpoint (metadata.py, filesystem.py), by last part.
_TENSOR = "TensorStorageMetadata"
Place = tuple[int, ...]
Places = Mapping[tuple[str, Place | None], tuple[str, int, int]]  # file, offset, length


def recognise(contents: Contents) -> Decision | None:
    """That this is torch_dist, or torch_dcp or fsdp_dtensor, or None."""
    if not one_named(contents, ".metadata"):
        return None
    beside = one_named(contents, "metadata.json") or one_named(contents, "common.pt")
    family = TORCH_DIST if beside else TORCH_DCP
    seen = f"{beside} beside it" if beside else "neither metadata.json nor common.pt"
    return Decision("family", family, f".metadata describes .distcp files, with {seen}")


def read(contents: Contents, family: Decision) -> Parts:
    """All keys of the model, whatever they stand below, with their chunks."""
    name = one_named(contents, ".metadata") or ""
    index = read_index(contents, name)
    common = one_named(contents, "common.pt")
    if common and "args" in index.objects:
        contents.findings.report("twice", "args", f"in {common} and in {name}, of two saves")
    return parts_of_keys(
        contents,
        family=family,
        era=_ERAS[family.value],
        serialization="distcp",
        common=contents.state(common) if common else {key: index.read(key) for key in _COMMON},
        described=name,
        loads={key: partial(index.load, key) for key in index.tensors},
        objects=[key for key in index.objects if common or key not in _COMMON],
    )


class DistcpError(MegaportError):
    """A .metadata that does not describe its .distcp files, or one of those that is missing."""


_bad = partial(
    DistcpError, remedy="The checkpoint is incomplete or damaged: get all of its files again."
)


@dataclass(frozen=True)
class Described:
    """A tensor, its chunks as (offsets, sizes), and its dtype where that is one known here."""

    shape: Place
    chunks: tuple[tuple[Place, Place], ...]
    dtype: str | None


@dataclass(frozen=True)
class Index:
    """What .metadata says: the tensors, all other objects, and where each of them is stored."""

    folder: str
    contents: Contents
    tensors: Mapping[str, Described]
    objects: tuple[str, ...]
    stored: Places

    def load(self, key: str) -> Whole:
        """The tensor `key` with all its chunks as views; `DistcpError` naming what is missing."""
        tensor = self.tensors[key]
        chunks = [Chunk(at, self._chunk(key, at, sizes)) for at, sizes in tensor.chunks]
        return Whole(key, tensor.shape, chunks)

    def read(self, key: str) -> Any:
        """The object `key` that torch.save wrote, such as args; None where there is none."""
        if key not in self.objects:
            return None
        return read_torch(self._region(key, None))

    def _chunk(self, key: str, offsets: Place, sizes: Place) -> Tensor:
        tensor = read_torch(self._region(key, offsets))
        # A stacked layer may be stored without its leading axis of 1.
        if not isinstance(tensor, Tensor) or _significant(tensor.shape) != _significant(sizes):
            raise _bad(f"{key} at {list(offsets)}", _kind(tensor), f"a tensor {list(sizes)}")
        dtype = self.tensors[key].dtype
        if dtype not in (None, tensor.dtype):
            raise _bad(f"{key} at {list(offsets)}", tensor.dtype, f"{dtype}")
        return Tensor(tensor.dtype, tensor.array.reshape(sizes))

    def _region(self, key: str, offsets: Place | None) -> Region:
        place = self.stored.get((key, offsets))
        at = f" at {list(offsets)}" if offsets else ""
        if place is None:
            raise _bad(f"{key}{at}", "no entry in .metadata", "the place where it is stored")
        file, offset, length = place
        name = f"{self.folder}{file}"
        if name not in self.contents.files:
            raise _bad(name, "no such file", f"the file that holds {key}{at}")
        return self.contents.region(name).sub(offset, length)


def _kind(value: Any) -> str:
    if isinstance(value, Unreadable):
        return value.reason
    return f"{list(value.shape)}" if isinstance(value, Tensor) else shown_text(value)


def _significant(shape: Place) -> Place:
    return tuple(size for size in shape if size != 1)


def read_index(contents: Contents, name: str) -> Index:
    """The index in the `.metadata` file `name`; `DistcpError` if it is not one."""
    metadata = _attributes(read_pickle(contents.region(name)), name)
    described = metadata.get("state_dict_metadata")
    stored = metadata.get("storage_data")
    if not isinstance(described, dict) or not isinstance(stored, dict):
        raise _bad(name, "no tensors described", "torch.distributed.checkpoint metadata")
    tensors = {
        str(key): _described(_attributes(value, name), str(key))
        for key, value in described.items()
        if isinstance(value, Record) and value.name.endswith(_TENSOR)
    }
    index = Index(
        folder=name[: -len(".metadata")],
        contents=contents,
        tensors=tensors,
        objects=tuple(str(key) for key in described if str(key) not in tensors),
        stored=_stored(stored, name),
    )
    _refuse_undescribed(index, name)
    return index


def _dtype(properties: Any) -> str | None:
    """What TensorProperties, a tuple since torch 2.0, say first; None for what is unknown here."""
    state = properties.state if isinstance(properties, Record) else None
    said = state[0] if isinstance(state, tuple) and state else None
    return DTYPES.get(said.name) if isinstance(said, Name) else None


def _refuse_undescribed(index: Index, name: str) -> None:
    """Everything that is stored is a chunk of a tensor or an object: nothing of it is dropped."""
    described = {(key, at) for key, tensor in index.tensors.items() for at, _ in tensor.chunks}
    others = index.stored.keys() - described - {(key, None) for key in index.objects}
    for key, at in sorted(others, key=str)[:1]:
        seen = f"{len(others)} stored parts, such as {shown_text(key)} at {list(at or ())}"
        raise _bad(name, f"{seen}, that no tensor has", "a description of all that is stored")


def _described(tensor: Mapping[str, Any], key: str) -> Described:
    shape, chunks = _place(tensor.get("size"), key), tensor.get("chunks")
    if not isinstance(chunks, list):
        raise _bad(key, "no list of chunks", "the chunks it is stored in")
    said = [_attributes(chunk, key) for chunk in chunks]
    places = tuple((_place(c.get("offsets"), key), _place(c.get("sizes"), key)) for c in said)
    return Described(shape, places, _dtype(tensor.get("properties")))


def _stored(stored: Mapping[Any, Any], name: str) -> Places:
    places: dict[tuple[str, Place | None], tuple[str, int, int]] = {}
    for index, info in stored.items():
        key, where = _attributes(index, name), _attributes(info, name)
        called = shown_text(key.get("fqn"))
        file, start, length = (where.get(part) for part in ("relative_path", "offset", "length"))
        if not (isinstance(file, str) and type(start) is int and type(length) is int):
            raise _bad(name, f"a broken place for {called}", "file, offset and length")
        offset = key.get("offset")
        at = None if offset is None else _place(offset, called)
        places[str(key.get("fqn")), at] = file, start, length
    _refuse_shared(places, name)
    return places


def _refuse_shared(places: Places, name: str) -> None:
    """Every stored object has its own bytes, so that reading all of them costs what they hold."""
    ends: dict[str, int] = {}
    for (key, _), (file, start, length) in sorted(places.items(), key=lambda item: item[1]):
        if start < ends.get(file, 0):
            seen = f"{shown_text(key)} in bytes of {shown_text(file)} that hold another"
            raise _bad(name, seen, "bytes of its own for each chunk")
        ends[file] = start + max(length, 0)


def _attributes(value: Any, where: str) -> dict[str, Any]:
    state = value.state if isinstance(value, Record) else None
    if not isinstance(state, dict):
        raise _bad(where, shown_text(value), "a record with attributes")
    return state


def _place(value: Any, where: str) -> Place:
    shape = shape_of(value)
    if shape is not None:
        return shape
    raise _bad(where, shown_text(value), f"at most {MOST_DIMENSIONS} sizes, whole numbers")
