"""From what a family read to a Checkpoint: every tensor accounted for, or one error."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from megaport.checkpoint import canonical
from megaport.checkpoint.accounting import Accounting
from megaport.checkpoint.canonical import Sizes
from megaport.checkpoint.features import refuse_features
from megaport.checkpoint.model import Checkpoint
from megaport.checkpoint.parts import Merged, Parts, Shards, merge_stages, unknown_names
from megaport.checkpoint.replicas import collapse_replicas, settle_head
from megaport.checkpoint.version import decide_version
from megaport.tensors import FLOATS


def finish(parts: Parts, *, version: float | None) -> Checkpoint:
    """Check the parts against each other and against GPT-2; `version` is the config's override.

    Raises `NotGPT2Error` naming features, `CheckpointMismatchError` listing every tensor that is
    missing, extra, of a wrong shape or dtype or unlike its copies, and `decide_version`'s errors.
    """
    accounting = parts.accounting
    merged = merge_stages(parts.stages, accounting)
    unknown = dict(unknown_names(parts.stages))
    refuse_features(parts.source, parts.args, _shapes(merged.tensors), unknown, merged.layers)
    for name, source in unknown.items():
        accounting.report("extra", name, f"in {source}")
    collapse_replicas(merged.tensors, accounting)
    tied = settle_head(merged.tensors, parts.args, accounting, merged.ignored)
    _account(parts, merged, accounting, untied=not tied.value)
    accounting.settle()
    number, order = decide_version(
        parts.source, parts.stated_version, version, parts.args, parts.layout
    )
    names = canonical.expected_names(merged.layers, untied=not tied.value)
    return Checkpoint(
        family=parts.family,
        era=parts.era,
        serialization=parts.serialization,
        tensor_parallel=parts.tensor_parallel,
        pipeline_parallel=parts.pipeline_parallel,
        virtual_pipeline=parts.virtual_pipeline,
        version=number,
        qkv_order=order.value,
        args=parts.args,
        iteration=parts.iteration,
        layers=merged.layers,
        tensors={name: merged.tensors[name] for name in names},
        ignored=(*parts.ignored, *_ignored(parts), *merged.ignored),
        decisions=(*parts.decisions, order, tied),
    )


def _ignored(parts: Parts) -> Iterator[str]:
    seen = dict.fromkeys(name for stage in parts.stages for name in stage.ignored)
    yield from seen


def joined_shape(name: str, shards: Shards) -> tuple[int, ...]:
    """The shape of the shards put together along the axis that tensor parallelism cuts."""
    axis = canonical.shard_axis(name)
    shape = list(shards[0].shape)
    if axis is not None and axis < len(shape):
        shape[axis] = sum(s.shape[axis] for s in shards if axis < len(s.shape))
    return tuple(shape)


def _shapes(tensors: Mapping[str, Shards]) -> dict[str, tuple[int, ...]]:
    return {name: joined_shape(name, shards) for name, shards in tensors.items()}


def _account(parts: Parts, merged: Merged, accounting: Accounting, *, untied: bool) -> None:
    args = parts.args or {}
    for name in canonical.expected_names(merged.layers, untied=untied):
        place = canonical.split_layer(name)
        whole_layer = place and not any(
            other.startswith(f"layers.{place[0]}.") for other in merged.tensors
        )
        if name not in merged.tensors and not whole_layer:
            accounting.report("missing", name)
    sizes = _sizes(merged.tensors, args)
    _account_shapes(merged.tensors, sizes, accounting)
    _account_dtypes(merged.tensors, accounting)
    counts = " + ".join(str(len(stage.layers())) for stage in parts.stages)
    _account_args(args, sizes, merged.layers, counts, accounting)


def _sizes(tensors: Mapping[str, Shards], args: Mapping[str, Any]) -> Sizes:
    """Sizes that most tensors agree on, so that one odd tensor is the one that is named."""
    shapes = _shapes(tensors)
    norms = [shape[0] for name, shape in shapes.items() if "layernorm" in name and shape]
    ups = [
        shape[0]
        for name, shape in shapes.items()
        if name.endswith(f"{canonical.UP}.bias") and shape
    ]
    position, word = shapes.get(canonical.POSITION, (0,)), shapes.get(canonical.WORD, (0,))
    return Sizes(hidden=_most(norms), inner=_most(ups), positions=position[0], vocab=word[0])


def _most(numbers: list[int]) -> int:
    return Counter(numbers).most_common(1)[0][0] if numbers else 0


def _account_shapes(tensors: Mapping[str, Shards], sizes: Sizes, accounting: Accounting) -> None:
    rows = sum(s.shape[0] for s in tensors.get(f"layers.0.{canonical.QKV}.bias", ()) if s.shape)
    if rows and 3 * sizes.hidden % rows == 0 and 3 * sizes.hidden > rows:
        ranks = 3 * sizes.hidden // rows
        accounting.report("missing", f"{ranks - 1} of {ranks} tensor-parallel rank files")
    for name, shards in tensors.items():
        expected = list(canonical.full_shape(name, sizes))
        axis = canonical.shard_axis(name)
        if axis is not None:
            expected[axis] //= len(shards)
        for rank, shard in enumerate(shards):
            if shard.shape != tuple(expected):
                where = f" on rank {rank}" if len(shards) > 1 else ""
                accounting.report(
                    "wrong shape", name, f"{list(shard.shape)}{where}, expected {expected}"
                )


def _account_dtypes(tensors: Mapping[str, Shards], accounting: Accounting) -> None:
    # Tensors may differ from each other (--embedding-weights-in-fp32): converting settles that.
    for name, shards in tensors.items():
        dtypes = sorted({shard.dtype for shard in shards})
        if len(dtypes) > 1 or dtypes[0] not in FLOATS:
            accounting.report("wrong dtype", name, f"{', '.join(dtypes)}, expected one float type")


def _account_args(
    args: Mapping[str, Any], sizes: Sizes, layers: int, counts: str, accounting: Accounting
) -> None:
    for argument, found, detail in (
        ("num_layers", layers, f"files hold {counts}"),
        ("hidden_size", sizes.hidden, "norms"),
        ("ffn_hidden_size", sizes.inner, "mlp.dense_h_to_4h"),
        ("max_position_embeddings", sizes.positions, "rows of the position embedding"),
        ("padded_vocab_size", sizes.vocab, "rows of the word embedding"),
    ):
        said = args.get(argument)
        if said is not None and said != found:
            accounting.report("args disagree", argument, f"{said}, but {found}: {detail}")
