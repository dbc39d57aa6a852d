"""Scratch bytes on disk for tensors that no file holds in one piece: written once, then mapped."""

import mmap
import os
import tempfile
import weakref
from functools import cached_property
from pathlib import Path

import numpy as np

from megaport.checkpoint.spool import SpoolError, write_all
from megaport.tensors import STORAGE, Tensor


class Arena:
    """At most `capacity` bytes in an unlinked file under `spool`, which appears on first use."""

    ALIGNED = 64

    def __init__(self, spool: Path, capacity: int) -> None:
        self.spool = spool
        self.capacity = capacity
        self._used = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """The same values as a view over the scratch file, so that memory holds none of them.

        `SpoolError` where the disk is full or `spool` is not writable.
        """
        data = np.ascontiguousarray(tensor.array)
        start = -(-self._used // self.ALIGNED) * self.ALIGNED
        try:
            descriptor, view = self._file
            write_all(descriptor, bytes(start - self._used))
            write_all(descriptor, data.reshape(-1).view(np.uint8).data)
        except OSError as error:
            raise SpoolError(
                str(self.spool),
                seen=error.strerror or type(error).__name__,
                expected=f"room for up to {self.capacity} bytes of scratch",
                remedy="Free space, or point `store` at a larger disk, and run again.",
            ) from error
        self._used = start + data.nbytes
        flat = np.frombuffer(view, STORAGE[tensor.dtype], data.size, start)
        return Tensor(tensor.dtype, flat.reshape(data.shape))

    @cached_property
    def _file(self) -> tuple[int, memoryview]:
        """Where to write, and the same bytes to read."""
        self.spool.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.spool) as file:
            file.truncate(self.capacity)
            descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, descriptor)
        # The mapping is only read: a full disk must be an error of write, not a signal.
        return descriptor, memoryview(mmap.mmap(descriptor, self.capacity, access=mmap.ACCESS_READ))
