"""The conversion: a checkpoint that was read and described becomes config.json and safetensors."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from megaport.checkpoint.architecture import Architecture
from megaport.checkpoint.model import Checkpoint
from megaport.convert.accounting import account, refuse, sizes_of
from megaport.convert.config import gpt2_config
from megaport.convert.dtype import BY_TORCH_NAME, TORCH_NAME
from megaport.convert.errors import ConversionError
from megaport.convert.model_reader import INDEX
from megaport.convert.safetensors_file import Entry, write_safetensors
from megaport.convert.sharding import split, write_index
from megaport.convert.stream import Stream
from megaport.convert.table import Row
from megaport.tensors import Array


def convert_checkpoint(
    checkpoint: Checkpoint,
    architecture: Architecture,
    out: Path,
    *,
    dtype: str | None,
    max_shard_size: int | None,
) -> dict[str, str]:
    """Write config.json and model.safetensors (or shards and their index) into folder `out`.

    `dtype`: None moves the bytes as they are; "float32", "float16", "bfloat16" or "float64" rounds
    each value once. `max_shard_size`: bytes of tensors a file holds at most; None for one file.
    Returns the SHA-256 of each file by name. Same input, same bytes; memory is a few chunks.

    Raises ConversionError, listing everything wrong: tensors missing, extra, of a wrong shape or
    dtype, NaN or Inf, overflowing `dtype`. Then no weights are left in `out`.
    """
    wanted = account(checkpoint, architecture, recast=dtype is not None)
    target = _target(dtype) or checkpoint.tensors["word_embeddings.weight"][0].dtype
    by_name = {row.gpt2: row for row in sorted(wanted, key=lambda row: row.gpt2)}
    sizes = sizes_of(architecture)
    entries = [Entry(row.gpt2, target, sizes.shape(row.gpt2_shape)) for row in by_name.values()]
    files = split(entries, max_shard_size)
    stream = Stream(sizes, checkpoint.qkv_order, architecture.layernorm_1p)
    out.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, held in files.items():
        rows = [by_name[entry.name] for entry in held]
        digests[name] = write_safetensors(
            out / name, held, _chunks(stream, rows, checkpoint, target)
        )
    if stream.problems:
        for name in files:
            (out / name).unlink()
        refuse(stream.problems, checkpoint)
    if len(files) > 1:
        write_index(out, files)
        digests[INDEX] = _digest(out / INDEX)
    config = gpt2_config(architecture, TORCH_NAME[target])
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return dict(sorted({**digests, "config.json": _digest(out / "config.json")}.items()))


def _chunks(stream: Stream, rows: list[Row], checkpoint: Checkpoint, dtype: str) -> Iterator[Array]:
    for row in rows:
        yield from stream.chunks(row, checkpoint.tensors[row.megatron], dtype)


def _target(dtype: str | None) -> str | None:
    """The safetensors name of a dtype by torch's name. Raises ConversionError for any other."""
    if dtype is None or dtype in BY_TORCH_NAME:
        return BY_TORCH_NAME[dtype] if dtype else None
    raise ConversionError(
        "dtype",
        seen=repr(dtype),
        expected=f"one of {', '.join(sorted(BY_TORCH_NAME))}, or null for the checkpoint's own",
        remedy="Correct `dtype` in config.yaml.",
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
