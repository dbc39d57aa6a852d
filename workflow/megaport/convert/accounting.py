"""Every source tensor consumed once, every target produced once, every shape as it must be.

All that is wrong is found before a byte is written, and said in one error.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from megaport.checkpoint.architecture import Architecture
from megaport.checkpoint.model import Checkpoint
from megaport.convert.dtype import TORCH_NAME
from megaport.convert.errors import ConversionError
from megaport.convert.table import Row, Sizes, rows
from megaport.tensors import Tensor

SHOWN = 40


def sizes_of(architecture: Architecture) -> Sizes:
    """The symbols of the shape laws, from the architecture."""
    return Sizes(
        padded_vocab_size=architecture.padded_vocab_size,
        vocab_size=architecture.vocab_size,
        n_positions=architecture.n_positions,
        n_embd=architecture.n_embd,
        n_inner=architecture.n_inner,
        n_head=architecture.n_head,
    )


def account(checkpoint: Checkpoint, architecture: Architecture, *, recast: bool) -> list[Row]:
    """The rows to convert, each of which the checkpoint holds with the right shapes and dtype.

    `recast`: a dtype was asked for, so the source's may differ from tensor to tensor.
    Raises ConversionError, which lists every problem.
    """
    wanted = rows(architecture.n_layer, tied=architecture.tie_word_embeddings)
    sizes = sizes_of(architecture)
    problems = [
        *_sizes(sizes),
        *_names(checkpoint.tensors, wanted),
        *(p for row in wanted for p in _shards(row, checkpoint.tensors, sizes)),
        *([] if recast else _mixed_dtypes(checkpoint.tensors)),
    ]
    refuse(problems, checkpoint)
    return list(wanted)


def refuse(problems: Sequence[str], checkpoint: Checkpoint) -> None:
    """Raise ConversionError with all `problems`, if there are any."""
    if not problems:
        return
    more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    raise ConversionError(
        f"checkpoint ({checkpoint.family}, {checkpoint.era})",
        seen="; ".join([*problems[:SHOWN], *more]),
        expected="every tensor of a GPT-2 once, complete, finite and of the shape its sizes give",
        remedy="If the sizes are wrong, set them under `architecture` in config.yaml; "
        "otherwise the checkpoint is damaged or not a GPT-2.",
    )


def _sizes(sizes: Sizes) -> Iterator[str]:
    if sizes.vocab_size > sizes.padded_vocab_size:
        yield (
            f"vocab_size {sizes.vocab_size} but only {sizes.padded_vocab_size} rows of "
            "word_embeddings.weight"
        )
    if sizes.n_embd % sizes.n_head:
        yield f"n_embd {sizes.n_embd} is not divisible by n_head {sizes.n_head}"


def _names(tensors: Mapping[str, Sequence[Tensor]], wanted: Sequence[Row]) -> Iterator[str]:
    expected = [row.megatron for row in wanted]
    yield from (f"missing {name}" for name in expected if not tensors.get(name))
    yield from (f"extra {name}" for name in tensors if name not in set(expected))


def _shards(row: Row, tensors: Mapping[str, Sequence[Tensor]], sizes: Sizes) -> Iterator[str]:
    shards = tensors.get(row.megatron, ())
    if row.axis is None and len(shards) > 1:
        yield f"{row.megatron}: {len(shards)} shards of a tensor that ranks replicate"
        return
    if len(dtypes := sorted({shard.dtype for shard in shards})) > 1:
        yield f"{row.megatron}: ranks of different dtypes, {' and '.join(dtypes)}"
    for rank, shard in enumerate(shards):
        where = row.megatron if len(shards) == 1 else f"{row.megatron} of rank {rank}"
        if shard.dtype not in TORCH_NAME:
            yield f"{where}: dtype {shard.dtype} is not a float's"
        expected = _shard_shape(row, sizes, len(shards))
        if expected is None:
            yield f"{where}: {sizes.n_head} heads do not divide over {len(shards)} ranks"
        elif shard.shape != expected:
            yield f"{where}: shape {list(shard.shape)}, not {list(expected)}"


def _shard_shape(row: Row, sizes: Sizes, ranks: int) -> tuple[int, ...] | None:
    """What a rank must hold; None where attention heads cannot be split so."""
    if row.axis is not None and sizes.n_head % ranks:
        return None
    return sizes.shard_shape(row, ranks)


def _mixed_dtypes(tensors: Mapping[str, Sequence[Tensor]]) -> Iterator[str]:
    counts = Counter(shard.dtype for shards in tensors.values() for shard in shards)
    usual = max(counts, key=lambda dtype: (counts[dtype], dtype), default=None)
    for name, shards in tensors.items():
        other = sorted({shard.dtype for shard in shards} - {usual})
        if other:
            yield f"{name}: dtype {other[0]} where the rest is {usual} (set `dtype` to convert)"
