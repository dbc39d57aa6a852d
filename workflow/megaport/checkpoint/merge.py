"""Stages and ranks become one state dict: every tensor accounted for, or one error."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from megaport.checkpoint.architecture import measured
from megaport.checkpoint.arguments import unknown_mathematics
from megaport.checkpoint.bits import alike, same_bits
from megaport.checkpoint.contents import Contents
from megaport.checkpoint.evidence import (
    check_copies,
    check_stages,
    check_statements,
    constant_weights,
)
from megaport.checkpoint.features import refuse_features
from megaport.checkpoint.model import (
    DEEPSPEED_LAYERS,
    Checkpoint,
    Findings,
    Parts,
    Shards,
    Stage,
    joined_shape,
)
from megaport.checkpoint.version import decide_version
from megaport.errors import shown_text
from megaport.sizes import cut, numbers_of
from megaport.table import (
    HEAD,
    HEAD_COPY,
    WORD,
    Decision,
    Row,
    Table,
    layer_name,
    leaves_of,
    split_layer,
)
from megaport.tensors import FLOATS


def merge(contents: Contents, parts: Parts, *, version: float | None) -> Checkpoint:
    """Check the parts of `contents` against each other and their table; `version` is the config's.

    Raises `UnsupportedModelError` naming features, `CheckpointMismatchError` listing every tensor
    that is missing, extra, of a wrong shape or dtype or unlike its copies, and `decide_version`'s
    errors.
    """
    table, findings, copies = parts.table, contents.findings, list[str]()
    check_stages(parts, findings)
    tensors, layers = _numbered_through(parts.stages, findings, copies)
    if not layers:
        findings.report("missing", "layers", "no stage has any")
    unknown = {name: stage.source for stage in parts.stages for name in stage.unknown}
    shapes = {name: joined_shape(table, name, shards) for name, shards in tensors.items()}
    said = {**(parts.args or {}), **contents.beside()}
    refuse_features(contents.source, table, said, shapes, unknown)
    for name, source in unknown.items():
        findings.report("extra", name, f"in {source}")
    check_copies(table, tensors, findings)
    check_statements(parts, tensors, findings, overridden=version is not None)
    _collapse_copies(table, tensors, findings)
    tied = _settle_head(tensors, parts.args, findings, copies)
    rows = list(table.rows(layers, tied=tied.value, leaves=leaves_of(tensors)))
    _check_names(rows, tensors, findings)
    sizes = measured(table, tensors)
    _check_shapes(table, tensors, sizes, findings)
    _check_dtypes(tensors, findings)
    _check_args(parts, sizes, layers, findings)
    findings.settle()
    number, order = decide_version(
        contents.source,
        parts.stated_version,
        version,
        parts.args,
        since_2021=parts.since_2021,
        deepspeed=parts.family.value == DEEPSPEED_LAYERS,
    )
    beside = (*contents.files.ignored, *contents.unread, *parts.ignored)
    inside = dict.fromkeys(name for stage in parts.stages for name in stage.ignored)
    return Checkpoint(
        table=table,
        family=parts.family.value,
        era=parts.era,
        serialization=parts.serialization,
        tensor_parallel=parts.tensor_parallel,
        pipeline_parallel=parts.pipeline_parallel,
        virtual_pipeline=parts.virtual_pipeline,
        version=number,
        qkv_order=order.value,
        args=parts.args,
        iteration=parts.iteration,
        layers=layers,
        tensors={row.megatron: tensors[row.megatron] for row in rows},
        ignored=(*(shown_text(name, 200) for name in beside), *inside, *copies),
        decisions=(
            *unknown_mathematics(table, said),
            *constant_weights(table, tensors, parts.args),
            parts.family,
            *parts.decisions,
            order,
            tied,
        ),
    )


def _numbered_through(
    stages: Iterable[Stage], findings: Findings, copies: list[str]
) -> tuple[dict[str, Shards], int]:
    """All stages' tensors, layers counted stage by stage (they may be uneven), and their number.

    Reports gaps inside a stage by its name, and names outside the layers that two stages hold and
    that are not bit-equal.
    """
    tensors: dict[str, Shards] = {}
    before = 0
    for stage in stages:
        here = stage.layers()
        count = max(here) + 1 if here else 0
        if count > len(stage.tensors):
            seen = f"number {count - 1} among {len(here)} layers in {stage.source}"
            findings.report("missing", "layers", seen)
            findings.settle()
        for gap in sorted(set(range(count)) - here):
            findings.report("missing", f"layers.{before + gap}", f"in {stage.source}")
        for native, shards in stage.tensors.items():
            place = split_layer(native)
            name = layer_name(before + place[0], place[1]) if place else native
            if name not in tensors:
                tensors[name] = shards
            elif alike(tensors[name], shards):
                copies.append(f"{name} in {stage.source}: a copy, bit-equal")
            else:
                findings.report("unlike its copy", name, f"in {stage.source}")
        before += count
    return tensors, before


def _collapse_copies(table: Table, tensors: dict[str, Shards], findings: Findings) -> None:
    """Keep one shard of each tensor that parallel ranks hold alike; report those unlike."""
    for name, shards in tensors.items():
        if len(shards) == 1 or table.row(name).axis is not None:
            continue
        for rank, shard in enumerate(shards):
            if not same_bits(shards[0], shard):
                ranks = f"tensor-parallel ranks 0 and {rank}"
                findings.report("unlike between ranks", name, ranks)
        tensors[name] = shards[:1]


def _settle_head(
    tensors: dict[str, Shards],
    args: Mapping[str, Any] | None,
    findings: Findings,
    ignored: list[str],
) -> Decision:
    """Tied or untied; copies of the word embedding are checked, dropped and noted in `ignored`."""
    untie = (args or {}).get("untie_embeddings_and_output_weights")
    if untie is None and (args or {}).get("tie_word_embeddings") is False:
        untie = True
    word, head = tensors.get(WORD, ()), tensors.get(HEAD, ())
    own = bool(untie or (untie is None and head and not alike(word, head)))
    for name in (HEAD_COPY,) if own else (HEAD_COPY, HEAD):
        copy = tensors.pop(name, ())
        if copy and word and alike(word, copy):
            ignored.append(f"{name}: a copy of the word embedding, bit-equal")
        elif copy and word:
            findings.report("unlike the word embedding it is tied to", name)
    if not own:
        return Decision("tie_word_embeddings", True, "no head of its own is stored")
    said = "untie_embeddings_and_output_weights"
    return Decision("tie_word_embeddings", False, said if untie else "a head of its own is stored")


def _check_names(rows: Iterable[Row], tensors: Mapping[str, Shards], findings: Findings) -> None:
    """Report every tensor that is not there, but for whole layers, which are reported as such."""
    there = {place[0] for place in map(split_layer, tensors) if place}
    for row in rows:
        place = split_layer(row.megatron)
        if row.megatron not in tensors and (not place or place[0] in there):
            findings.report("missing", row.megatron)


def _check_shapes(
    table: Table, tensors: Mapping[str, Shards], sizes: Mapping[str, int], findings: Findings
) -> None:
    missing = set[float]()
    for name, shards in tensors.items():
        row = table.row(name)
        try:
            expected = cut(numbers_of(row.megatron_shape, sizes), row.axis, len(shards))
        except KeyError:
            expected = ()
        for rank, shard in enumerate(shards):
            if shard.shape != expected or not expected or 0 in expected:
                where = f" on rank {rank}" if len(shards) > 1 else ""
                seen = f"{list(shard.shape)}{where}, expected {list(expected)}"
                findings.report("wrong shape", name, seen)
                same_axes = len(shard.shape) == len(expected)
                missing.add(prod(expected) / max(1, prod(shard.shape)) if same_axes else 0.0)
    ranks = missing.pop() if len(missing) == 1 else 0.0
    if ranks > 1 and ranks.is_integer():
        absent = f"{int(ranks) - 1} of {int(ranks)} tensor-parallel rank files"
        findings.report("missing", absent, "every wrong shape above is such a part")


def _check_dtypes(tensors: Mapping[str, Shards], findings: Findings) -> None:
    # Tensors may differ from each other (--embedding-weights-in-fp32): converting settles that.
    every = Counter(shards[0].dtype for shards in tensors.values())
    if every["F16"] and every["BF16"]:
        counts = f"F16 {every['F16']} times, BF16 {every['BF16']} times"
        findings.report("wrong dtype", "float16 beside bfloat16", f"{counts}: one is mistaken")
    for name, shards in tensors.items():
        dtypes = sorted({shard.dtype for shard in shards})
        if len(dtypes) > 1 or dtypes[0] not in FLOATS:
            findings.report("wrong dtype", name, f"{', '.join(dtypes)}, expected one float type")


def _check_args(parts: Parts, sizes: Mapping[str, int], layers: int, findings: Findings) -> None:
    counts = " + ".join(str(len(stage.layers())) for stage in parts.stages)
    args: Mapping[str, Any] = parts.args or {}
    for argument, found, detail in (
        ("num_layers", layers, f"files hold {counts}"),
        ("hidden_size", sizes.get("H"), "norms"),
        ("ffn_hidden_size", sizes.get("F"), "rows of the first linear layer of the MLP"),
        ("max_position_embeddings", sizes.get("P"), "rows of the position embedding"),
        ("padded_vocab_size", sizes.get("V"), "rows of the word embedding"),
    ):
        said = args.get(argument)
        if said is not None and found is not None and said != found:
            findings.report("args disagree", argument, f"{said}, but {found}: {detail}")
