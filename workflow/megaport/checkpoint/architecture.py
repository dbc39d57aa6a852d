"""The architecture that a checkpoint is, and where each number of it comes from."""

from collections.abc import Mapping
from typing import Any

from megaport.checkpoint.merge import measured
from megaport.checkpoint.model import CORE_FAMILIES, Checkpoint
from megaport.decide import Facts
from megaport.table import HEAD, WORD, Architecture, leaves_of
from megaport.tensors import TORCH_NAME


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
