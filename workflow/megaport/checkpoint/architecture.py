"""The architecture that a checkpoint is: one of those there is a table for, and its numbers."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from megaport.checkpoint.model import CORE_FAMILIES, Checkpoint, Shards, joined_shape
from megaport.decide import Facts
from megaport.gpt2 import GPT2
from megaport.llama import LLAMA
from megaport.sizes import factor_of
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


def measured(table: Table, tensors: Mapping[str, Shards]) -> dict[str, int]:
    """What most tensors say a symbol of the shape laws is, so that the odd one out is named."""
    votes: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for name, shards in tensors.items():
        law = table.row(name).megatron_shape
        shape = joined_shape(table, name, shards)
        for symbol, size in zip(law, shape, strict=False) if len(law) == len(shape) else ():
            factor, letters = factor_of(symbol)
            votes[letters][size // factor] += 1
    return {letters: counter.most_common(1)[0][0] for letters, counter in votes.items()}
