"""Writes safetensors as a stream: the header first, then each tensor's bytes as they are made."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from megaport.tensors import STORAGE, Array


@dataclass(frozen=True)
class Entry:
    """A tensor to be written: its name, safetensors dtype and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * STORAGE[self.dtype].itemsize


def header(entries: Sequence[Entry]) -> bytes:
    """Length and header of a file holding `entries` in order, as the library writes them.

    `__metadata__` has the one key that transformers reads; spaces pad to 8 bytes (safetensors'
    README). Compact JSON, so the bytes are those of `safetensors.torch.save_file`.
    """
    content: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for entry in entries:
        span = [offset, offset + entry.nbytes]
        content[entry.name] = {
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "data_offsets": span,
        }
        offset = span[1]
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_safetensors(path: Path, entries: Sequence[Entry], chunks: Iterable[Array]) -> str:
    """Write `entries` and, in the same order, the contiguous `chunks` of their bytes.

    Returns the file's SHA-256. Hashing and writing a chunk each have a thread, while the next chunk
    is made: at most two chunks are alive. Raises OSError as writing does.
    """
    digest = hashlib.sha256(head := header(entries))
    expected = sum(entry.nbytes for entry in entries)
    written = 0
    with path.open("wb") as file, ThreadPoolExecutor(2) as threads:
        file.write(head)
        busy: list[Future[Any]] = []
        for chunk in chunks:
            for job in busy:
                job.result()
            data = chunk.data.cast("B")
            busy = [threads.submit(digest.update, data), threads.submit(file.write, data)]
            written += len(data)
        for job in busy:
            job.result()
    assert written == expected, f"{path.name}: {written} bytes written, header says {expected}"
    return digest.hexdigest()
