"""Megatron core's `zarr` format: a folder a key with .zarray and chunks (version 2), common.pt."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from megaport.checkpoint.contents import Contents, read_json
from megaport.checkpoint.families.chunks import Chunk, Whole
from megaport.checkpoint.families.dist_family import one_named, parts_of_keys
from megaport.checkpoint.model import ZARR, Parts
from megaport.checkpoint.regions import Region
from megaport.checkpoint.spool import GZIP, ZLIB
from megaport.checkpoint.storages import MOST_DIMENSIONS, shape_of
from megaport.errors import MegaportError, shown_text
from megaport.table import Decision
from megaport.tensors import STORAGE, Tensor

# Megatron core 0.8 (strategies/zarr.py) writes "bfloat16" where zarr has "<V2".
_DTYPES = {
    **{dtype.str: name for name, dtype in STORAGE.items() if name != "BF16"},
    "bfloat16": "BF16",
}
_WBITS = {"zlib": ZLIB, "gzip": GZIP}


def recognise(contents: Contents) -> Decision | None:
    """That this is zarr, or None."""
    count = len(_described(contents))
    return Decision("family", ZARR, f"{count} folders hold a .zarray") if count else None


def read(contents: Contents, family: Decision) -> Parts:
    """All keys of the model, with their chunks."""

    def load(name: str) -> Whole:
        return read_array(contents, name).load(contents)

    common = one_named(contents, "common.pt")
    return parts_of_keys(
        contents,
        family=family,
        era="2023 to 2024 (core 0.3 to 0.8): Megatron core, zarr",
        serialization="zarr",
        common=contents.state(common) if common else {},
        described=contents.source,
        loads={name.split("/")[-2]: partial(load, name) for name in _described(contents)},
    )


def _described(contents: Contents) -> list[str]:
    return sorted(name for name in contents.files if name.endswith("/.zarray"))


class ZarrError(MegaportError):
    """A zarr array that is damaged, incomplete, or stored in a way this reader does not know."""


_bad = partial(
    ZarrError,
    remedy="Get all files of the checkpoint again, or save it as torch_dist with Megatron.",
)


@dataclass(frozen=True)
class ZarrArray:
    """One `.zarray`, already checked. `codec` is None (what Megatron writes), zlib or gzip."""

    folder: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    codec: str | None

    def load(self, contents: Contents) -> Whole:
        """All chunks, as views of the files or of what they inflate to.

        Raises `ZarrError` naming a chunk that is missing, `BadArchiveError` for a damaged one.
        """
        counts = [-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True)]
        if prod(counts) > len(contents.files):
            seen = f"{prod(counts)} chunks of {list(self.chunks)} and fewer files"
            raise _bad(f"{self.folder}.zarray", seen, "a file a chunk")
        chunks = [self._chunk(contents, index) for index in np.ndindex(*counts)]
        return Whole(self.folder.split("/")[-2], self.shape, chunks)

    def _chunk(self, contents: Contents, index: tuple[int, ...]) -> Chunk:
        name = f"{self.folder}{'.'.join(map(str, index)) or '0'}"
        if name not in contents.files:
            raise _bad(name, "no such file", "every chunk of the array")
        data = self._bytes(contents, contents.region(name))
        array = np.frombuffer(data, STORAGE[self.dtype]).reshape(self.chunks)
        offsets = tuple(i * c for i, c in zip(index, self.chunks, strict=True))
        # Chunks at the edge are stored whole, padded beyond the shape.
        valid = tuple(slice(0, n - o) for n, o in zip(self.shape, offsets, strict=True))
        return Chunk(offsets, Tensor(self.dtype, np.asarray(array[valid])))

    def _bytes(self, contents: Contents, region: Region) -> memoryview:
        size = prod(self.chunks) * STORAGE[self.dtype].itemsize
        if self.codec is not None:
            region = contents.inflated(region, size, _WBITS[self.codec])
        if region.size != size:
            raise _bad(region.name, f"{region.size} bytes", f"{size} bytes, a whole chunk")
        return region.view


def read_array(contents: Contents, name: str) -> ZarrArray:
    """The array that the `.zarray` file `name` describes; `ZarrError` for what is not readable."""
    said = read_json(contents.region(name))
    if said.get("zarr_format") != 2:
        raise _bad(name, "no zarr v2 metadata", 'a short JSON text with "zarr_format": 2')
    _one_of(name, "dimension_separator", said.get("dimension_separator", "."), ".")
    _one_of(name, "order", said.get("order", "C"), "C")
    shape, chunks = _sizes(name, said.get("shape"), 0), _sizes(name, said.get("chunks"), 1)
    if len(shape) != len(chunks):
        raise _bad(name, f"shape {shape}, chunks {chunks}", "as many numbers in each")
    return ZarrArray(
        folder=name.removesuffix(".zarray"),
        shape=shape,
        chunks=chunks,
        dtype=_DTYPES[_one_of(name, "dtype", said.get("dtype"), *_DTYPES)],
        codec=_codec(name, said),
    )


def _sizes(name: str, value: Any, least: int) -> tuple[int, ...]:
    shape = shape_of(value, least)
    if shape is not None:
        return shape
    seen = f"sizes {shown_text(repr(value))}"
    raise _bad(name, seen, f"at most {MOST_DIMENSIONS} whole numbers from {least} on")


def _codec(name: str, said: Mapping[str, Any]) -> str | None:
    if said.get("filters"):
        raise _bad(name, f"filters {shown_text(repr(said['filters']))}", "none, as Megatron writes")
    compressor = said.get("compressor")
    if compressor is None:
        return None
    codec = compressor.get("id") if isinstance(compressor, dict) else compressor
    return _one_of(name, "compressor", codec, *_WBITS)


def _one_of(name: str, what: str, value: Any, *known: str) -> str:
    if isinstance(value, str) and value in known:
        return value
    raise _bad(name, f"{what} {shown_text(value)}", f"one of {', '.join(known)}")
