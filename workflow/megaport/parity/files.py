"""The converted files, config.json and every tensor's bytes, against parity's own mapping."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoConfig

from megaport.parity.causes import find_cause
from megaport.parity.converted import unreadable
from megaport.parity.reference import Reference
from megaport.parity.verdict import Cause, Verdict, equal, judge
from megaport.tensors import Array, Tensor

# Integers of the same width: BF16 has no NumPy dtype, and -0.0 == 0.0 would hide a flipped sign.
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
NAMED = 8


@dataclass(frozen=True)
class Difference:
    """A tensor of the converted file that is wrong; `cause` is the classic mistake that gives
    exactly these bytes."""

    name: str
    what: str
    cause: Cause | None = None

    @property
    def misshapen(self) -> bool:
        """Whether the two models have arrays of other shapes, and cannot be compared."""
        return self.what.startswith("shape")

    def __str__(self) -> str:
        return f"{self.name}: {self.what}" + (f" ({self.cause.sentence})" if self.cause else "")


def check_config(reference: Reference, model_dir: Path) -> Verdict:
    """Every field of config.json that changes the mathematics.

    ModelUnreadableError when there is no config.json that transformers reads.
    """
    try:
        config: Any = AutoConfig.from_pretrained(model_dir, local_files_only=True)
    except (OSError, ValueError) as error:
        raise unreadable(model_dir, "config.json", str(error)) from error
    measures = [equal("model_type", config.model_type, reference.architecture.model_type)]
    off = 0
    if measures[0].holds:
        measures += [equal(*field) for field in reference.configured(config)]
        off = config.vocab_size - reference.architecture.vocab_size
    return judge(
        "config",
        "Does config.json describe the checkpoint's architecture?",
        measures,
        reason="these are names and whole numbers; any other value is another model",
        note=f"vocabulary off by {'one' if abs(off) == 1 else off}" if off else "",
    )


def find_differences(reference: Reference, model_dir: Path) -> list[Difference]:
    """What differs in `model_dir`'s safetensors, in the order of the checkpoint's tensors.

    A cause is looked for in the first ones alone: it costs a tensor for every mistake.
    """
    found: list[Difference] = []
    expected = set()
    with _opened(model_dir) as files:
        for source, shards in reference.checkpoint.tensors.items():
            for name, tensor in reference.converted(source, shards):
                expected.add(name)
                if name not in files:
                    found.append(Difference(name, "missing"))
                elif difference := _compare(
                    reference, source, name, tensor, files[name], explain=len(found) < NAMED
                ):
                    found.append(difference)
        left_over = sorted(files.keys() - expected)
    return found + [Difference(name, "left over") for name in left_over]


def check_tensors(differences: Sequence[Difference]) -> Verdict:
    """No tensor may be missing, left over or different; the note names the first ones."""
    kinds = [d.what if d.what in ("missing", "left over") else "that differ" for d in differences]
    more = [f"and {len(differences) - NAMED} more"] if len(differences) > NAMED else []
    return judge(
        "tensors",
        "Are the converted bytes those of the checkpoint, each in its place?",
        [
            equal(f"tensors {kind}", kinds.count(kind), 0)
            for kind in ("missing", "left over", "that differ")
        ],
        reason="a conversion moves bytes; where a dtype was asked for, rounding to nearest is one "
        "value",
        note="; ".join([str(difference) for difference in differences[:NAMED]] + more),
    )


@contextmanager
def _opened(model_dir: Path) -> Iterator[dict[str, Any]]:
    """Tensor name -> the open file that holds it, over all shards of the directory."""
    paths = sorted(model_dir.glob("model*.safetensors"))
    if not paths:
        raise unreadable(model_dir, "model.safetensors", "no such file")
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(path, framework="pt")) for path in paths]
        yield {name: file for file in files for name in file.keys()}  # noqa: SIM118


def _compare(
    reference: Reference, source: str, name: str, expected: Tensor, file: Any, *, explain: bool
) -> Difference | None:
    stored = file.get_slice(name).get_dtype()
    if stored != expected.dtype:
        return Difference(name, f"stored as {stored}, expected {expected.dtype}")
    found = _bits(file.get_tensor(name))
    if found.shape != expected.shape:
        what = f"shape {list(found.shape)}, expected {list(expected.shape)}"
    else:
        count = np.count_nonzero(expected.array.view(found.dtype) != found)
        if not count:
            return None
        what = f"{count} of {found.size} elements"
    cause = find_cause(reference, source, name, expected, found) if explain else None
    return Difference(name, what, cause)


def _bits(tensor: torch.Tensor) -> Array:
    found: Array = tensor.view(BITS[tensor.element_size()]).numpy()
    return found
