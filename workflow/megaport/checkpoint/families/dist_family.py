"""What torch_dist, zarr and torch_dcp share: keys of Megatron core, stacked or one a layer."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import filterfalse, zip_longest
from typing import Any

from megaport.checkpoint.architecture import table_of
from megaport.checkpoint.arena import Arena
from megaport.checkpoint.chunks import (
    Whole,
    check_cover,
    room_for,
    shards_of,
    split_rows,
    unstack,
)
from megaport.checkpoint.configuration import read_json, stated_beside
from megaport.checkpoint.contents import Contents, UnknownLayoutError, plain_args
from megaport.checkpoint.families.names import is_training_state, resolver, weights_beside
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.stages import Parts, Shards, Stage, size_said
from megaport.table import Decision, Table, layer_name
from megaport.tensors import Tensor

_STACK = "decoder.layers."
# What core adds to the key of each part that it stores as a tensor of its own.
_PARTS = ("_w", "_v")
Load = Callable[[str], Whole]


@dataclass(frozen=True)
class Place:
    """Where a key belongs: a canonical name, or that of a leaf of every layer where `stacked`.

    `part` is the only one that it holds of a tensor of several, else None.
    """

    name: str
    stacked: bool = False
    part: int | None = None


def place_of(table: Table, key: str) -> Place | None:
    """Where the key belongs; None if the table does not know it."""
    if name := resolver(table, "decoder")(key):
        return Place(name)
    if key.startswith(_STACK) and (leaf := table.leaf(key.removeprefix(_STACK))):
        return Place(leaf, stacked=True)
    whole = place_of(table, key[:-2]) if key.endswith(_PARTS) else None
    if whole and table.row(whole.name).parts == len(_PARTS):
        return replace(whole, part=_PARTS.index(key[-2:]))
    return None


def stage_of_keys(
    source: str,
    table: Table,
    keys: Iterable[str],
    load: Load,
    tensor_parallel: int,
    contents: Contents,
    findings: Findings,
) -> Stage:
    """The whole model as one stage; `keys` are native, without prefix, `load` gives the chunks."""
    known = {key: place_of(table, key) for key in keys}
    wholes = {key: check_cover(load(key)) for key, place in known.items() if place}
    arena = Arena(contents.spool, room_for(wholes.values()))
    parts: dict[str, dict[int, Shards]] = {}
    for key, place in known.items():
        for name, part, whole in _named(wholes[key], place, table) if place else ():
            held = parts.setdefault(name, {})
            if part in held:
                findings.report("twice under different names", name, f"again as {key}")
            held[part] = shards_of(whole, table.row(name).axis, tensor_parallel, arena)
    tensors = {name: tuple(_by_rank(held)) for name, held in parts.items()}
    return Stage(source, tensors, tuple(key for key, place in known.items() if place is None))


def _named(whole: Whole, place: Place, table: Table) -> Iterator[tuple[str, int, Whole]]:
    """(canonical name, part, tensor) of all that a key holds."""
    parts = table.row(place.name).parts if place.part is None else 1
    for number, layer in enumerate(unstack(whole)) if place.stacked else ((0, whole),):
        name = layer_name(number, place.name) if place.stacked else place.name
        for part, held in enumerate(split_rows(layer, parts)):
            yield name, part if place.part is None else place.part, held


def _by_rank(parts: Mapping[int, Shards]) -> Iterator[Tensor]:
    """Every rank's shard of the first part, then of the second."""
    for held in zip_longest(*(parts[part] for part in sorted(parts))):
        yield from (shard for shard in held if shard is not None)


def parts_of_keys(
    contents: Contents,
    findings: Findings,
    family: str,
    era: str,
    serialization: str,
    common: Mapping[str, Any],
    described: str,
    keys: Collection[str],
    load: Load,
    ignored: Iterable[str],
    objects: Collection[str] = (),
) -> Parts:
    """Parts from `common` (args, checkpoint_version, iteration; any may be absent) and one stage.

    `keys` are those of the model, without prefix; `load` gives one's chunks; `described` is the
    file that lists them; `objects` are all that is no tensor.
    """
    for name in (*weights_beside(common, ()), *filterfalse(is_training_state, objects)):
        findings.report("extra", name, "nobody knows whose it is")
    if "common_backend" in _metadata(contents) and not one_named(contents, "common.pt"):
        findings.report("missing", "common.pt", "metadata.json says that it was saved")
    args, decisions = _args(contents, common)
    tensor = size_said(args, "tensor_model_parallel_size")
    table = table_of(keys)
    cuts = tensor if _divides(args, tensor) else 1
    stage = stage_of_keys(described, table, keys, load, cuts, contents, findings)
    return Parts(
        source=contents.source,
        family=family,
        era=era,
        serialization=serialization,
        table=table,
        stages=(stage,),
        tensor_parallel=tensor,
        pipeline_parallel=size_said(args, "pipeline_model_parallel_size"),
        virtual_pipeline=size_said(args, "virtual_pipeline_model_parallel_size"),
        args=args,
        stated_version=common.get("checkpoint_version"),
        stated_iteration=common.get("iteration"),
        findings=findings,
        ignored=tuple(sorted({*ignored, *objects})),
        decisions=decisions,
    )


def _args(
    contents: Contents, common: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, tuple[Decision, ...]]:
    """The args among what is common, else those that a file beside the model states."""
    args = plain_args(common.get("args"))
    stated = stated_beside(contents.facts) if args is None else None
    if stated is None:
        return args, ()
    name, args = stated
    return args, (Decision("args", name, "the model's own files hold no args"),)


def _metadata(contents: Contents) -> Mapping[str, Any]:
    """What metadata.json says of the save; {} where it is not there or not read."""
    name = one_named(contents, "metadata.json")
    return read_json(contents.files[name]) if name else {}


def _divides(args: Mapping[str, Any] | None, ranks: int) -> bool:
    """Whether chunks may be those of so many ranks, each with whole heads and groups of them."""
    said = args or {}
    groups = said.get("num_query_groups") if said.get("group_query_attention") else None
    heads = said.get("num_attention_heads")
    return all(
        isinstance(n, int) and n % ranks == 0 for n in (heads, heads if groups is None else groups)
    )


def one_named(contents: Contents, tail: str) -> str | None:
    """The only file with this last name, or None; `UnknownLayoutError` for several."""
    found = sorted(name for name in contents.files if name.rsplit("/", 1)[-1] == tail)
    if len(found) > 1:
        raise UnknownLayoutError(
            contents.source,
            seen=f"{len(found)} files {tail}: {', '.join(found[:3])}",
            expected="one checkpoint",
            remedy="Keep one iteration, or point at its folder.",
        )
    return found[0] if found else None
