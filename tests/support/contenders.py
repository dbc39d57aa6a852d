"""Engines that do what no engine should, for the benchmark's processes: `support.contenders:X`."""

import ctypes
import time
from pathlib import Path
from typing import Any, Self

from megaport.generate.device import Placement
from megaport.generate.engines.base import Batch
from megaport.generate.engines.fast import FastEngine

# The judge's texts have at most 32 tokens of one row; measurements here have two rows.
TIMED_ROWS = 2
COMPILATION_S = 0.5


class Wrong(FastEngine):
    """Right in every way but the last token."""

    def generate(self, batch: Batch) -> list[list[int]]:
        return [[*row[:-1], (row[-1] + 1) % 257] for row in super().generate(batch)]


class Crash(FastEngine):
    """Reads address 0 when it is timed with two rows."""

    def generate(self, batch: Batch) -> list[list[int]]:
        if len(batch.prompts) == TIMED_ROWS:
            ctypes.string_at(0)
        return super().generate(batch)


class Full(FastEngine):
    """Memory runs out with two rows."""

    def generate(self, batch: Batch) -> list[list[int]]:
        if len(batch.prompts) == TIMED_ROWS:
            raise MemoryError
        return super().generate(batch)


class Changing(FastEngine):
    """Compiles for its first text, then runs otherwise than it said when it was loaded, as `fast`
    without its kernels does."""

    def generate(self, batch: Batch) -> list[list[int]]:
        if not self.note.startswith("changed"):
            time.sleep(COMPILATION_S)
        self.note = f"changed for {len(batch.prompts)} rows"
        return super().generate(batch)


class Unloadable(FastEngine):
    """Fails in a way that nobody foresaw, and talks on standard output."""

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        print("a line that is no answer")
        return _bug()


def _bug() -> Any:
    return {}["a name"]
