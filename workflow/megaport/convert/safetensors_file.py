"""A safetensors file (format: safetensors' README): written as a stream, read as views."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from megaport.convert.errors import UnreadableModelError
from megaport.tensors import STORAGE, Array, Tensor

# How many bytes are written between two calls of fsync: rarely enough that a call does not
# wait for the one before it, often enough that little is left to wait for at the end.
SYNC_BYTES = 64 << 20


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
    except (OSError, ValueError, KeyError, TypeError) as error:
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
