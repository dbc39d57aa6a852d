"""What a family hands over: named tensors and facts, not yet checked against each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from megaport.checkpoint.findings import Findings
from megaport.checkpoint.version import Layout
from megaport.table import Decision, Table, split_layer
from megaport.tensors import Tensor

Shards = tuple[Tensor, ...]


def size_said(args: Mapping[str, Any] | None, argument: str, default: int = 1) -> int:
    """The number of ranks that an argument states, `default` where none is stated."""
    said = (args or {}).get(argument)
    return said if isinstance(said, int) and said > 0 else default


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
    table: Table
    stages: tuple[Stage, ...]
    tensor_parallel: int
    pipeline_parallel: int
    args: Mapping[str, Any] | None
    stated_version: Any
    stated_iteration: Any
    findings: Findings
    layout: Layout = field(default_factory=Layout)
    virtual_pipeline: int = 1
    ignored: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)

    @property
    def iteration(self) -> int | None:
        """The iteration, where what is stated of it is a number."""
        return self.stated_iteration if type(self.stated_iteration) is int else None
