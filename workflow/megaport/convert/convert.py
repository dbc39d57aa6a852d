"""The conversion: a checkpoint that was read and described becomes config.json and safetensors."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from megaport.checkpoint.model import Checkpoint
from megaport.convert.dtype import Tally, converted
from megaport.convert.transforms import chunks, pieces
from megaport.convert.weights import (
    INDEX,
    TensorInfo,
    split,
    write_index,
    write_json,
    write_safetensors,
)
from megaport.errors import MegaportError
from megaport.table import WORD, Architecture, Decision, Row
from megaport.tensors import BY_TORCH_NAME, TORCH_NAME, Array

log = logging.getLogger("megaport")
Tallies = dict[Row, Tally]
SHOWN = 40


class ConversionError(MegaportError):
    """A checkpoint whose tensors are not exactly those of the model that its architecture says."""


@dataclass(frozen=True)
class Conversion:
    """The SHA-256 of each file by name, and what a change of dtype did that one should know."""

    digests: Mapping[str, str]
    decisions: tuple[Decision, ...]


def convert_checkpoint(
    checkpoint: Checkpoint,
    architecture: Architecture,
    out: Path,
    *,
    dtype: str | None,
    max_shard_size: int | None,
) -> Conversion:
    """Write config.json and model.safetensors (or shards and their index) into folder `out`.

    `dtype`: None moves the bytes as they are; "float32", "float16", "bfloat16" or "float64" rounds
    each value once. `max_shard_size`: bytes of tensors a file holds at most; None for one file.
    Same input, same bytes; memory is a few chunks.

    Raises ConversionError, naming every tensor of another dtype where none is asked for, that holds
    NaN or Inf, or that overflows `dtype`. Then no weights are left in `out`.
    """
    target = BY_TORCH_NAME[dtype] if dtype else _common_dtype(checkpoint)
    by_name = {row.target: row for row in sorted(checkpoint.rows, key=lambda row: row.target)}
    infos = [
        TensorInfo(name, target, architecture.shape(row.target_shape))
        for name, row in by_name.items()
    ]
    files = split(infos, max_shard_size)
    out.mkdir(parents=True, exist_ok=True)
    tallies: Tallies = {}
    digests = {}
    for name, held in files.items():
        these = [by_name[info.name] for info in held]
        moved = _chunks(checkpoint, architecture, these, target, tallies)
        digests[name] = write_safetensors(out / name, held, moved)
    if problems := list(_problems(tallies, TORCH_NAME[target])):
        for name in files:
            (out / name).unlink()
        _refuse(problems, checkpoint)
    if len(files) > 1:
        digests[INDEX] = write_index(out, files)
    config = checkpoint.table.config(replace(architecture, dtype=TORCH_NAME[target]))
    digests["config.json"] = write_json(out / "config.json", config)
    return Conversion(dict(sorted(digests.items())), _warnings(tallies, TORCH_NAME[target]))


def _chunks(
    checkpoint: Checkpoint,
    architecture: Architecture,
    rows: Sequence[Row],
    target: str,
    tallies: Tallies,
) -> Iterator[Array]:
    """The chunks of `rows` one after the other; a tally of each is put into `tallies`."""
    for row in rows:
        shards = checkpoint.tensors[row.megatron]
        found = pieces(row, [s.array for s in shards], architecture, checkpoint.qkv_order)
        tallies[row] = Tally()
        plus_one = architecture.layernorm_1p and row.is_norm_scale
        yield from converted(
            chunks(found), shards[0].dtype, target, tallies[row], plus_one=plus_one
        )


def _problems(tallies: Tallies, dtype: str) -> Iterator[str]:
    for row, tally in tallies.items():
        if tally.non_finite:
            yield f"{row.megatron}: {tally.non_finite} values are NaN or Inf"
        if tally.overflown:
            yield f"{row.megatron}: {tally.overflown} values overflow {dtype}"


def _warnings(tallies: Tallies, dtype: str) -> tuple[Decision, ...]:
    """Tensors of which the new dtype made zeros: all that was left, or over one in a thousand."""
    lost = [
        f"{row.megatron}: {tally.zeroed} of {tally.values}"
        for row, tally in tallies.items()
        if tally.zeroed and (tally.zeros == tally.values or tally.zeroed > tally.values / 1000)
    ]
    if not lost:
        return ()
    for tensor in lost:
        log.warning("values too small for %s became zero in %s", dtype, tensor)
    reason = f"these values are too small for {dtype}"
    return (Decision("values that became zero", lost, reason, "dtype"),)


def _common_dtype(checkpoint: Checkpoint) -> str:
    """The dtype of all tensors. Raises ConversionError naming those unlike the word embedding's."""
    usual = checkpoint.tensors[WORD][0].dtype
    other = [
        f"{name}: dtype {shards[0].dtype} where {WORD} is {usual} (set `dtype` to convert)"
        for name, shards in checkpoint.tensors.items()
        if shards[0].dtype != usual
    ]
    if other:
        _refuse(other, checkpoint)
    return usual


def _refuse(problems: Sequence[str], checkpoint: Checkpoint) -> NoReturn:
    more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    raise ConversionError(
        f"checkpoint ({checkpoint.family}, {checkpoint.era})",
        seen="; ".join([*problems[:SHOWN], *more]),
        expected="finite values of one dtype, which the one asked for can hold",
        remedy="Set another `dtype` in config.yaml; values that are not numbers mean damage.",
    )
