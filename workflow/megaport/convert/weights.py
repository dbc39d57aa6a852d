"""A model directory's config.json and weights: one safetensors file, or shards as on the Hub.

A safetensors file (format: safetensors' README) is written as a stream and read as views.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from megaport.errors import MegaportError
from megaport.tensors import STORAGE, Array, Tensor

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# How many bytes are written between two calls of fsync: rarely enough that a call does not
# wait for the one before it, often enough that little is left to wait for at the end.
SYNC_BYTES = 64 << 20


class UnreadableModelError(MegaportError):
    """A model directory that does not hold what it should."""

    @classmethod
    def of(cls, path: Path, error: Exception, expected: str) -> "UnreadableModelError":
        """What was met when `path` was read as `expected`."""
        remedy = "Convert or download the model again."
        return cls(str(path), seen=error, expected=expected, remedy=remedy)


@dataclass(frozen=True)
class TensorInfo:
    """A tensor to be written: its name, safetensors dtype and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * STORAGE[self.dtype].itemsize


def header(infos: Sequence[TensorInfo]) -> bytes:
    """Length and header of a file holding `infos` in order, as the library writes them.

    `__metadata__` has the one key that transformers reads; spaces pad to 8 bytes. Compact JSON, so
    the bytes are those of `safetensors.torch.save_file`.
    """
    content: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for info in infos:
        span = [offset, offset + info.nbytes]
        content[info.name] = {"dtype": info.dtype, "shape": info.shape, "data_offsets": span}
        offset = span[1]
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_safetensors(path: Path, infos: Sequence[TensorInfo], chunks: Iterable[Array]) -> str:
    """Write `infos` and, in the same order, the contiguous `chunks` of their bytes; durably.

    Returns the file's SHA-256. Hashing, writing and bringing to the disk each have a thread, while
    the next chunk is made: at most two chunks are alive. Raises OSError as writing does.
    """
    digest = hashlib.sha256(head := header(infos))
    expected = sum(info.nbytes for info in infos)
    written = synced = 0
    with path.open("wb") as file, ThreadPoolExecutor(3) as threads:
        file.write(head)
        busy: list[Future[Any]] = []
        sync = threads.submit(os.fsync, file.fileno())
        for chunk in chunks:
            _wait(busy)
            data = chunk.data.cast("B")
            busy = [threads.submit(digest.update, data), threads.submit(file.write, data)]
            written += len(data)
            if written - synced >= SYNC_BYTES and sync.done():
                sync.result()  # the kernel tells of a failed write once
                synced = written
                sync = threads.submit(os.fsync, file.fileno())
        _wait([*busy, sync])
        file.flush()
        os.fsync(file.fileno())
    assert written == expected, f"{path.name}: {written} bytes written, header says {expected}"
    return digest.hexdigest()


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Name -> tensor, in name order, as views over a memory map; nothing is read ahead.

    Raises UnreadableModelError when the header or an offset is wrong.
    """
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        length = int.from_bytes(data[:8].tobytes(), "little")
        content = json.loads(data[8 : 8 + length].tobytes())
        body = data[8 + length :]
        return {n: _view(body, content[n]) for n in sorted(content) if n != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableModelError.of(path, error, "a safetensors file") from error


def _view(body: Array, info: dict[str, Any]) -> Tensor:
    start, stop = info["data_offsets"]
    if not 0 <= start <= stop <= body.size:
        raise ValueError(f"offsets {start}..{stop} of a body of {body.size} bytes")
    array = np.frombuffer(body[start:stop], dtype=STORAGE[info["dtype"]])
    return Tensor(info["dtype"], array.reshape(info["shape"]))


def _wait(jobs: Iterable[Future[Any]]) -> None:
    for job in jobs:
        job.result()


def split(
    infos: Sequence[TensorInfo], max_shard_size: int | None
) -> dict[str, Sequence[TensorInfo]]:
    """File name -> the tensors it holds, in order, at most `max_shard_size` bytes of them.

    One file `model.safetensors` where all fit; a tensor over the limit has a file of its own.
    """
    groups: list[list[TensorInfo]] = [[]]
    used = 0
    for info in infos:
        if groups[-1] and max_shard_size is not None and used + info.nbytes > max_shard_size:
            groups.append([])
            used = 0
        groups[-1].append(info)
        used += info.nbytes
    if len(groups) == 1:
        return {SINGLE: infos}
    return {
        f"model-{number:05d}-of-{len(groups):05d}.safetensors": group
        for number, group in enumerate(groups, 1)
    }


def write_json(path: Path, content: Mapping[str, Any]) -> str:
    """Write `content` as transformers writes it; the SHA-256."""
    data = (json.dumps(content, indent=2) + "\n").encode()
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def write_index(out: Path, files: Mapping[str, Sequence[TensorInfo]]) -> str:
    """Write `model.safetensors.index.json`: the file of every tensor, and the sum of their bytes;
    its SHA-256."""
    total = sum(info.nbytes for infos in files.values() for info in infos)
    where = {info.name: name for name, infos in files.items() for info in infos}
    content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    return write_json(out / INDEX, content)


def read_weights(model_dir: Path) -> dict[str, Tensor]:
    """Name -> tensor of `model.safetensors`, or of the shards its index names, in name order.

    Raises UnreadableModelError when a file is missing or is not safetensors.
    """
    if (model_dir / SINGLE).is_file():
        return read_safetensors(model_dir / SINGLE)
    index = model_dir / INDEX
    if not index.is_file():
        raise UnreadableModelError(
            str(model_dir),
            seen="no weights",
            expected=f"{SINGLE}, or {INDEX} and its shards",
            remedy="Give a directory that `save_pretrained` or `convert` wrote.",
        )
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableModelError.of(index, error, "an index of shards") from error
    shards = [read_safetensors(model_dir / name) for name in sorted(names)]
    return dict(sorted((name, tensor) for shard in shards for name, tensor in shard.items()))


def read_config(model_dir: Path) -> dict[str, Any]:
    """config.json. Raises UnreadableModelError when it is missing or no JSON object."""
    path = model_dir / "config.json"
    try:
        config: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableModelError.of(path, error, "a config.json") from error
    return config
