"""Writes Megatron core's distributed formats: torch_dist, zarr, torch_dcp and fsdp_dtensor."""

import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from megaport.table import split_layer
from support.edits import Edit
from support.llama_files import Llama
from support.megatron_model import Model, core_name

Chunk = tuple[tuple[int, ...], torch.Tensor]  # (offsets, piece)
PREFIXES = {"torch_dcp": "model.", "fsdp_dtensor": "model.module."}
ZARR_DTYPES = {torch.float32: "<f4", torch.float16: "<f2", torch.bfloat16: "bfloat16"}
APART = ("torch_dist_layers", "fsdp_dtensor")  # the parts of a tensor under names of their own


def write(
    folder: Path, model: Model | Llama, layout: str, tp: int, common: dict[str, Any], edit: Edit
) -> None:
    """Write the model in `tp` chunks a tensor; the version of the QKV rows is 3.

    `edit` may change the chunks by key ("entries") and what common.pt holds ("common").
    """
    entries = dict(_entries(model, layout, tp))
    edit("entries", entries)
    edit("common", common)
    folder.mkdir(parents=True)
    if layout == "zarr":
        _write_zarr(folder, entries)
    else:
        _write_distcp(folder, entries, common if layout in PREFIXES else {})
    if layout not in PREFIXES:
        torch.save(common, folder / "common.pt")
        backend = "zarr" if layout == "zarr" else "torch_dist"
        said = {"sharded_backend": backend, "sharded_backend_version": 1}
        (folder / "metadata.json").write_text(json.dumps(said))


def _entries(model: Model | Llama, layout: str, tp: int) -> Iterator[tuple[str, list[Chunk]]]:
    stacked: dict[str, list[Chunk]] = {}
    for name in model.tensors:
        place, parts = split_layer(name), model.parts(name)
        # Every FSDP tensor is cut on axis 0, whatever tensor parallelism would do.
        axis = 0 if layout == "fsdp_dtensor" else model.axis(name)
        if place and layout in ("torch_dist", "zarr"):
            native = core_name(name, "core_te", None)
            chunks = [((place[0], *at), piece[None]) for at, piece in _chunks(parts, axis, tp)]
            stacked.setdefault(native, []).extend(chunks)
            continue
        key = PREFIXES.get(layout, "") + core_name(name, "core_te", place[0] if place else None)
        if layout in APART and len(parts) > 1:
            for tail, part in zip(("_w", "_v"), parts, strict=True):
                yield key + tail, list(_chunks([part], axis, tp))
        else:
            yield key, list(_chunks(parts, axis, tp))
    yield from stacked.items()


def _chunks(parts: list[torch.Tensor], axis: int | None, tp: int) -> Iterator[Chunk]:
    """Of each part each rank's slice, evenly or not; the parts themselves where nothing is cut."""
    cut = parts if axis is None else [p for part in parts for p in part.tensor_split(tp, axis)]
    start = 0
    for piece in cut:
        offsets = [0] * piece.dim()
        offsets[axis or 0] = start
        start += piece.shape[axis or 0]
        if piece.numel():
            yield tuple(offsets), piece.clone()


def _whole(chunks: list[Chunk]) -> tuple[int, ...]:
    ends = [[o + s for o, s in zip(at, piece.shape, strict=True)] for at, piece in chunks]
    return tuple(max(axis) for axis in zip(*ends, strict=True))


def _write_distcp(folder: Path, entries: dict[str, list[Chunk]], objects: dict[str, Any]) -> None:
    files = [io.BytesIO(), io.BytesIO()]
    described: dict[str, Any] = {}
    places: dict[MetadataIndex, _StorageInfo] = {}

    def put(index: MetadataIndex, content: Any) -> None:
        number = len(places) % 2
        offset = files[number].tell()
        torch.save(content, files[number])
        length = files[number].tell() - offset
        places[index] = _StorageInfo(f"__0_{number}.distcp", offset, length)

    for name, chunks in entries.items():
        described[name] = TensorStorageMetadata(
            TensorProperties(dtype=chunks[0][1].dtype),
            torch.Size(_whole(chunks)),
            [ChunkStorageMetadata(torch.Size(at), piece.shape) for at, piece in chunks],
        )
        for at, piece in chunks:
            put(MetadataIndex(name, torch.Size(at)), piece)
    for name, content in objects.items():
        described[name] = BytesStorageMetadata()
        put(MetadataIndex(name), content)
    metadata = Metadata(described, None, places)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    for number, file in enumerate(files):
        (folder / f"__0_{number}.distcp").write_bytes(file.getvalue())


def _write_zarr(folder: Path, entries: dict[str, list[Chunk]]) -> None:
    for name, chunks in entries.items():
        here = folder / name
        here.mkdir()
        shape = chunks[0][1].shape
        for at, piece in chunks:
            key = ".".join(str(o // s) for o, s in zip(at, shape, strict=True))
            (here / key).write_bytes(piece.contiguous().view(torch.uint8).numpy().tobytes())
        said = {
            "zarr_format": 2,
            "shape": _whole(chunks),
            "chunks": shape,
            "dtype": ZARR_DTYPES[chunks[0][1].dtype],
            "compressor": None,
            "fill_value": None,
            "filters": None,
            "order": "C",
        }
        (here / ".zarray").write_text(json.dumps(said))
