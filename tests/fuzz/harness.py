"""What any bytes may do to the reader: give tensors, or a named error, soon and within bounds."""

import hashlib
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megaport.checkpoint.files import digest_files, open_files
from megaport.checkpoint.torchfile import read_torch
from megaport.errors import MegaportError
from megaport.tensors import Tensor
from support.effects import no_effect

SECONDS = 2.0
ALLOWED = 32 << 20


class FindingError(AssertionError):
    """A mutated file that did what none may do."""


def outcome(data: bytes, folder: Path) -> list[str] | None:
    """Digests of the tensors read, or None when refused by name.

    Raises `FindingError` for any other exception, an effect, a hang or over-allocation.
    """
    path = folder / "model.pt"
    path.write_bytes(data)
    with bounded(len(data), "a file"):
        try:
            return _read(path, folder)
        except MegaportError as error:
            if not error.remedy or len(str(error)) > 1000:
                raise FindingError("an error without a remedy, or a long one") from error
            return None


@contextmanager
def bounded(size: int, called: str, allowed: int = ALLOWED) -> Iterator[None]:
    """`FindingError` where the body raises, takes long or allocates much for `size` bytes read."""
    tracemalloc.start()
    start = time.process_time()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    except FindingError:
        raise
    except Exception as error:
        raise FindingError(f"{called}: {type(error).__name__}: {error}") from error
    finally:
        tracemalloc.stop()
    if time.process_time() - start > SECONDS:
        raise FindingError(f"{called} took over {SECONDS} s")
    if peak > allowed + 16 * size:
        raise FindingError(f"allocated {peak} bytes for {called} of {size}")


def _read(path: Path, spool: Path) -> list[str]:
    digest_files(path, spool=spool)
    found: list[str] = []
    for region in open_files(path, spool=spool).values():
        with no_effect():
            tree = read_torch(region)
        found += tensors(tree)
    return found


def tensors(tree: Any) -> list[str]:
    """Dtype, shape and a digest of each tensor; a view that leaves its file would fail here."""
    if isinstance(tree, Tensor):
        digest = hashlib.sha256(tree.array.tobytes()).hexdigest()
        return [f"{tree.dtype} {tree.shape} {digest}"]
    if isinstance(tree, dict):
        return [f"{key} {each}" for key, value in tree.items() for each in tensors(value)]
    if isinstance(tree, list | tuple):
        return [each for value in tree for each in tensors(value)]
    return []
