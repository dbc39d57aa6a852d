"""What torch_dist, zarr and torch_dcp share: keys of Megatron core, stacked or one a layer."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import filterfalse, zip_longest
from typing import Any

from megaport.checkpoint.architecture import table_of
from megaport.checkpoint.contents import Contents, UnknownLayoutError, read_json, size_said
from megaport.checkpoint.families.chunks import (
    Arena,
    Whole,
    check_cover,
    room_for,
    shards_of,
    split_rows,
    unstack,
)
from megaport.checkpoint.families.names import (
    canonical,
    is_training_state,
    unwrapped,
    weights_beside,
)
from megaport.checkpoint.model import Parts, Shards, Stage
from megaport.table import Decision, Table, layer_name
from megaport.tensors import Tensor

_STACK = "decoder.layers."
# What core adds to the key of each part that it stores as a tensor of its own.
_PARTS = ("_w", "_v")


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
    if name := canonical(table, ("decoder",), key):
        return Place(name)
    if key.startswith(_STACK) and (leaf := table.leaf(key.removeprefix(_STACK))):
        return Place(leaf, stacked=True)
    whole = place_of(table, key[:-2]) if key.endswith(_PARTS) else None
    if whole and table.row(whole.name).parts == len(_PARTS):
        return replace(whole, part=_PARTS.index(key[-2:]))
    return None


def parts_of_keys(
    contents: Contents,
    *,
    family: Decision,
    era: str,
    serialization: str,
    common: Mapping[str, Any],
    described: str,
    loads: Mapping[str, Callable[[], Whole]],
    objects: Collection[str] = (),
) -> Parts:
    """Parts from `common` (args, checkpoint_version, iteration; any may be absent) and one stage.

    `loads` gives the chunks of the tensors by key, those of training's state too; `described` is
    the file that lists them; `objects` are the keys of all that is no tensor.
    """
    for name in (*weights_beside(common, ()), *filterfalse(is_training_state, objects)):
        contents.findings.report("extra", name, "nobody knows whose it is")
    about = one_named(contents, "metadata.json")
    saved = read_json(contents.region(about)) if about else {}
    if "common_backend" in saved and not one_named(contents, "common.pt"):
        contents.findings.report("missing", "common.pt", "metadata.json says that it was saved")
    args, decisions = contents.args(common)
    tensor = size_said(args, "tensor_model_parallel_size")
    keys = [key for key in loads if not is_training_state(key)]
    table = table_of(keys)
    places = {key: place_of(table, unwrapped(key)) for key in keys}
    unknown = tuple(unwrapped(key) for key, place in places.items() if place is None)
    known = {key: (place, check_cover(loads[key]())) for key, place in places.items() if place}
    tensors = _tensors(contents, table, known, tensor if _divides(args, tensor) else 1)
    return Parts(
        family=family,
        era=era,
        serialization=serialization,
        table=table,
        stages=(Stage(described, tensors, unknown),),
        tensor_parallel=tensor,
        pipeline_parallel=size_said(args, "pipeline_model_parallel_size"),
        virtual_pipeline=size_said(args, "virtual_pipeline_model_parallel_size"),
        args=args,
        stated_version=common.get("checkpoint_version"),
        stated_iteration=common.get("iteration"),
        ignored=tuple(sorted({*filter(is_training_state, loads), *objects})),
        decisions=decisions,
    )


def _tensors(
    contents: Contents, table: Table, known: Mapping[str, tuple[Place, Whole]], ranks: int
) -> dict[str, Shards]:
    """Canonical name -> shards of all that the keys hold."""
    arena = Arena(contents.spool, room_for(whole for _, whole in known.values()))
    parts: dict[str, dict[int, Shards]] = {}
    keys: dict[tuple[str, int], str] = {}
    for key, (place, whole) in known.items():
        for name, part, held in _named(whole, place, table):
            first = keys.setdefault((name, part), key)
            if first != key:
                seen = f"{first} and {key}"
                contents.findings.report("twice under different names", name, seen)
            parts.setdefault(name, {})[part] = shards_of(held, table.row(name).axis, ranks, arena)
    return {name: tuple(_by_rank(held)) for name, held in parts.items()}


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
