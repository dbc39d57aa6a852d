"""Every architecture there is a table for; all that is particular to one stands in its own file."""

from collections.abc import Iterable

from megaport.gpt2 import GPT2
from megaport.llama import LLAMA
from megaport.table import Table

# In the order they are asked; the last claims what none else does, and refuses it by name.
TABLES = (LLAMA, GPT2)


def table_of(names: Iterable[str]) -> Table:
    """The table to read tensors of these names by."""
    every = frozenset(names)
    return next(table for table in TABLES if table.recognise(every))
