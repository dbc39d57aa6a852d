"""The architecture that a checkpoint is: one of those there is a table for, and its numbers."""

from collections.abc import Iterable, Mapping
from typing import Any

from megaport.checkpoint.merge import measured
from megaport.checkpoint.model import CORE_FAMILIES, Checkpoint
from megaport.decide import Facts
from megaport.gpt2 import GPT2
from megaport.llama import LLAMA
from megaport.table import HEAD, WORD, Architecture, Table, leaves_of
from megaport.tensors import TORCH_NAME

# In the order they are asked; the last claims what none else does, and refuses it by name.
TABLES = (LLAMA, GPT2)


def table_of(names: Iterable[str]) -> Table:
    """The table to read tensors of these names by."""
    every = frozenset(names)
    return next(table for table in TABLES if table.recognise(every))


def describe_architecture(
    checkpoint: Checkpoint, overrides: Mapping[str, Any], *, draft: bool = False
) -> Architecture:
    """The architecture; `overrides` is the config's `architecture` (None means not given).

    A draft, to look at, has 0 heads where nobody states their number. Raises `ArchitectureError`
    naming the config key for a number of heads that nobody states, a key that the model's
    configuration has not, and any value the tensors contradict.
    """
    tensors, table = checkpoint.tensors, checkpoint.table
    facts = Facts(
        given={key: value for key, value in overrides.items() if value is not None},
        args=checkpoint.args,
        sizes=measured(table, tensors),
        leaves=leaves_of(tensors),
        layers=checkpoint.layers,
        tied=HEAD not in tensors,
        shards=max(len(shards) // table.row(name).parts for name, shards in tensors.items()),
        core=checkpoint.family in CORE_FAMILIES,
        dtype=TORCH_NAME[tensors[WORD][0].dtype],
        draft=draft,
    )
    return table.describe(facts)
