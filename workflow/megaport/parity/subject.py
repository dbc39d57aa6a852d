"""What parity is about, and what it may be told."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from megaport.checkpoint.model import Checkpoint
from megaport.errors import MegaportError
from megaport.parity.reference import Precision, Reference
from megaport.table import Architecture
from megaport.tensors import Tensor


class GoldenError(MegaportError):
    """The file of published logits is not what it should be."""


@dataclass(frozen=True)
class Golden:
    """Published logits: `logits[i]` belongs to position `rows[i]`, vocabulary entry `columns[i]`
    of the model's output for `input_ids`; `tolerance` allows for the precision they were made in.
    """

    source: str
    input_ids: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    logits: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class ParityOptions:
    """How to compare. `text` is the excerpt that the text checks read; `dtypes` (torch names) are
    compared with float32 on `device` ("auto", "cuda", "cpu"); `seed` makes the random ids;
    `stored` is the dtype (a safetensors name) the conversion was asked for, None for the
    checkpoint's own."""

    text: Path
    golden: Golden | None = None
    device: str = "auto"
    dtypes: tuple[str, ...] = ("bfloat16",)
    seed: int = 0
    stored: str | None = None


@dataclass(frozen=True)
class Subject:
    """One reading of a checkpoint; `stored` is the dtype the converted file was asked to hold."""

    checkpoint: Checkpoint
    architecture: Architecture
    stored: str | None = None

    def reference(self, precision: Precision = "float32") -> Reference:
        return Reference(self.checkpoint, self.architecture, precision, self.stored)

    def with_tensors(self, changes: Mapping[str, tuple[Tensor, ...]], **fields: Any) -> "Subject":
        """The same with some tensors, and fields of the checkpoint, replaced."""
        tensors = {**self.checkpoint.tensors, **changes}
        return replace(self, checkpoint=replace(self.checkpoint, tensors=tensors, **fields))

    def with_architecture(self, **fields: Any) -> "Subject":
        return replace(self, architecture=replace(self.architecture, **fields))


def read_golden(path: Path) -> Golden:
    """The JSON file that config's `golden` names: the fields of Golden, by name.

    GoldenError when fields are missing, or rows, columns and logits are not of one length.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        golden = Golden(
            source=str(found["source"]),
            input_ids=tuple(found["input_ids"]),
            rows=tuple(found["rows"]),
            columns=tuple(found["columns"]),
            logits=tuple(found["logits"]),
            tolerance=float(found["tolerance"]),
        )
        whole = len(golden.rows) == len(golden.columns) == len(golden.logits) > 0
        if not whole or max(golden.rows) >= len(golden.input_ids):
            raise ValueError("rows, columns and logits do not belong together")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GoldenError(
            f"published logits {path.name}",
            seen=f"{type(error).__name__}: {error}",
            expected="a JSON object with source, input_ids, rows, columns, logits, tolerance",
            remedy="Correct the file, or set `golden: null` for the model.",
        ) from error
    return golden
