"""What a family hands over: named tensors and facts, not yet checked against each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from megaport.checkpoint.findings import Findings
from megaport.checkpoint.version import Layout
from megaport.table import Decision, Table, split_layer
from megaport.tensors import Tensor

Shards = tuple[Tensor, ...]


@dataclass(frozen=True)
class Stage:
    """One pipeline stage, called `source`: canonical names, layers counted from its own 0.

    `unknown` holds the names that the table does not know; neither is checked.
    """

    source: str
    tensors: Mapping[str, Shards]
    unknown: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def layers(self) -> set[int]:
        places = (split_layer(name) for name in self.tensors)
        return {place[0] for place in places if place}


@dataclass(frozen=True)
class Parts:
    """A whole checkpoint as a family read it: `stages` in the order the layers run.

    `beside` are arguments that files beside the model state, such as deepspeed_config.json.
    """

    source: str
    family: str
    era: str
    serialization: str
    layout: Layout
    table: Table
    stages: tuple[Stage, ...]
    tensor_parallel: int
    pipeline_parallel: int
    virtual_pipeline: int
    args: Mapping[str, Any] | None
    stated_version: Any
    iteration: int | None
    findings: Findings
    ignored: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)
