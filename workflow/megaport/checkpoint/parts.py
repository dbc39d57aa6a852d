"""What a family hands over: named tensors and facts, not yet checked against each other."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from megaport.checkpoint import canonical
from megaport.checkpoint.accounting import Accounting
from megaport.checkpoint.model import Decision
from megaport.checkpoint.replicas import same_bits
from megaport.checkpoint.version import Layout
from megaport.tensors import Tensor

Shards = tuple[Tensor, ...]


@dataclass(frozen=True)
class Stage:
    """One pipeline stage, called `source`: canonical names, layers counted from its own 0.

    `unknown` holds the names that are not GPT-2's; neither is checked.
    """

    source: str
    tensors: Mapping[str, Shards]
    unknown: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def layers(self) -> set[int]:
        places = (canonical.split_layer(name) for name in self.tensors)
        return {place[0] for place in places if place}


@dataclass(frozen=True)
class Parts:
    """A whole checkpoint as a family read it: `stages` in the order the layers run."""

    source: str
    family: str
    era: str
    serialization: str
    layout: Layout
    stages: tuple[Stage, ...]
    tensor_parallel: int
    pipeline_parallel: int
    virtual_pipeline: int
    args: Mapping[str, Any] | None
    stated_version: Any
    iteration: int | None
    accounting: Accounting
    ignored: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()


@dataclass
class Merged:
    """All stages as one model: layers numbered through, names outside the layers once."""

    tensors: dict[str, Shards] = field(default_factory=dict)
    layers: int = 0
    ignored: list[str] = field(default_factory=list)


def merge_stages(stages: Iterable[Stage], accounting: Accounting) -> Merged:
    """Number the layers through, stage by stage: stages may be uneven, so they are counted.

    Reports gaps inside a stage by the stage's name, and names outside the layers that two
    stages hold and that are not bit-equal.
    """
    merged = Merged()
    for stage in stages:
        here = stage.layers()
        count = max(here) + 1 if here else 0
        if count > len(stage.tensors):
            seen = f"number {count - 1} among {len(here)} layers in {stage.source}"
            accounting.report("missing", "layers", seen)
            accounting.settle()
        for gap in sorted(set(range(count)) - here):
            accounting.report("missing", f"layers.{merged.layers + gap}", f"in {stage.source}")
        for name, shards in stage.tensors.items():
            _place(name, shards, stage, merged, accounting)
        merged.layers += count
    return merged


def _place(name: str, shards: Shards, stage: Stage, merged: Merged, accounting: Accounting) -> None:
    place = canonical.split_layer(name)
    if place:
        merged.tensors[canonical.layer_name(merged.layers + place[0], place[1])] = shards
    elif name not in merged.tensors:
        merged.tensors[name] = shards
    elif _alike(merged.tensors[name], shards):
        merged.ignored.append(f"{name} in {stage.source}: a copy, bit-equal")
    else:
        accounting.report("unlike its copy", name, f"in {stage.source}")


def _alike(first: Shards, second: Shards) -> bool:
    return len(first) == len(second) and all(map(same_bits, first, second))


def unknown_names(stages: Iterable[Stage]) -> Iterator[tuple[str, str]]:
    """(name, stage) of every tensor without a canonical name."""
    for stage in stages:
        for name in stage.unknown:
            yield name, stage.source
