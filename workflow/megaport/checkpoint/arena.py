"""Scratch bytes on disk for tensors that no file holds in one piece: written once, then mapped."""

import mmap
import os
import tempfile
from pathlib import Path

import numpy as np

from megaport.checkpoint.spool import SpoolError
from megaport.tensors import STORAGE, Tensor


class Arena:
    """At most `capacity` bytes in an unlinked file under `spool`, which appears on first use."""

    ALIGNED = 64

    def __init__(self, spool: Path, capacity: int) -> None:
        self.spool = spool
        self.capacity = capacity
        self._used = 0
        self._descriptor = -1
        self._view: memoryview | None = None

    def keep(self, tensor: Tensor) -> Tensor:
        """The same values as a view over the scratch file, so that memory holds none of them.

        `SpoolError` where the disk is full or `spool` is not writable.
        """
        data = np.ascontiguousarray(tensor.array)
        start = -(-self._used // self.ALIGNED) * self.ALIGNED
        try:
            view = self._view or self._open()
            self._write(data.reshape(-1).view(np.uint8).data, start)
        except OSError as error:
            raise self._failed(error) from error
        self._used = start + data.nbytes
        flat = np.frombuffer(view, STORAGE[tensor.dtype], data.size, start)
        return Tensor(tensor.dtype, flat.reshape(data.shape))

    def _open(self) -> memoryview:
        self.spool.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.spool) as file:
            file.truncate(self.capacity)
            self._descriptor = os.dup(file.fileno())
        # The mapping is only read: a full disk must be an error of write, not a signal.
        self._view = memoryview(mmap.mmap(self._descriptor, self.capacity, access=mmap.ACCESS_READ))
        return self._view

    def _write(self, data: memoryview, start: int) -> None:
        done = 0
        while done < len(data):
            done += os.pwrite(self._descriptor, data[done : done + (1 << 28)], start + done)

    def _failed(self, error: OSError) -> SpoolError:
        return SpoolError(
            str(self.spool),
            seen=error.strerror or type(error).__name__,
            expected=f"room for up to {self.capacity} bytes of scratch",
            remedy="Free space, or point `store` at a larger disk, and run again.",
        )

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
