"""Every tensor's bytes against the inverse mapping."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from megaport.parity.converted import unreadable
from megaport.parity.inverse import hugging_face_name, shards_of
from megaport.parity.result import Result, equal, judge
from megaport.parity.subject import Subject
from megaport.tensors import Array

NAME = "tensors"
QUESTION = "Are the converted bytes, put back in Megatron's order, the checkpoint's bytes?"
REASON = "a conversion moves bytes; where a dtype was asked for, rounding to nearest is one value"
# Integers of the same width: BF16 has no NumPy dtype, and -0.0 == 0.0 would hide a flipped sign.
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
NAMED = 8


def check_tensors(subject: Subject, model_dir: Path) -> Result:
    """Bytes of all tensors of `model_dir`'s safetensors; the note names the ones that differ."""
    with _converted(model_dir) as files:
        expected = {hugging_face_name(name): name for name in subject.checkpoint.tensors}
        missing, extra = sorted(expected.keys() - files), sorted(files.keys() - expected.keys())
        compared = [name for hf, name in expected.items() if hf in files]
        wrong = {name: count for name in compared if (count := _differing(subject, name, files))}
    measures = [
        equal("tensors missing", len(missing), 0),
        equal("tensors left over", len(extra), 0),
        equal(f"tensors that differ, of {len(compared)}", len(wrong), 0),
    ]
    return judge(NAME, QUESTION, measures, reason=REASON, note=_note(missing, extra, wrong))


def _note(missing: list[str], extra: list[str], wrong: dict[str, str]) -> str:
    said = [f"{name}: {what}" for name, what in wrong.items()]
    said += [f"{name}: missing" for name in missing] + [f"{name}: left over" for name in extra]
    more = [f"and {len(said) - NAMED} more"] if len(said) > NAMED else []
    return "; ".join(said[:NAMED] + more)


@contextmanager
def _converted(model_dir: Path) -> Iterator[dict[str, Any]]:
    """Tensor name -> the open file that holds it, over all shards of the directory."""
    paths = sorted(model_dir.glob("model*.safetensors"))
    if not paths:
        raise unreadable(model_dir, "model.safetensors", "no such file")
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(path, framework="pt")) for path in paths]
        yield {name: file for file in files for name in file.keys()}  # noqa: SIM118


def _differing(subject: Subject, name: str, files: dict[str, Any]) -> str:
    """What is wrong with one tensor; empty when every shard is bit-equal."""
    hf = hugging_face_name(name)
    dtype = files[hf].get_slice(hf).get_dtype()
    bits = _bits(files[hf].get_tensor(hf))
    try:
        shards = list(shards_of(subject, name, bits))
    except ValueError:
        return f"shape {list(bits.shape)} cannot hold it"
    for shard in shards:
        if shard.expected.dtype != dtype:
            return f"stored as {dtype}, expected {shard.expected.dtype}"
        if shard.expected.shape != shard.found.shape:
            return (
                f"rank {shard.rank} has {list(shard.expected.shape)}, not {list(shard.found.shape)}"
            )
    surplus = _surplus(subject, name, bits)
    different = sum(_unequal(shard.expected.array, shard.found) for shard in shards)
    return surplus or (f"{different} of {bits.size} elements" if different else "")


def _surplus(subject: Subject, name: str, bits: Array) -> str:
    size = subject.architecture.vocab_size
    vocabulary = name in ("word_embeddings.weight", "output_layer.weight")
    return f"{len(bits)} rows, expected {size}" if vocabulary and len(bits) != size else ""


def _bits(tensor: torch.Tensor) -> Array:
    found: Array = tensor.view(BITS[tensor.element_size()]).numpy()
    return found


def _unequal(expected: Array, found: Array) -> int:
    return int(np.count_nonzero(expected.view(found.dtype) != found))
