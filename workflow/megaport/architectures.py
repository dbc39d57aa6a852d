"""Every architecture there is a table for; all that is particular to one stands in its own file."""

from collections.abc import Iterable, Mapping
from typing import Any

from megaport.gpt2 import GPT2
from megaport.table import Table


def table_of(names: Iterable[str], args: Mapping[str, Any] | None) -> Table:
    """The table to read tensors of these names by."""
    return GPT2
