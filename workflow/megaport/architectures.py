"""Every architecture there is a table for; all that is particular to one stands in its own file."""

from collections.abc import Iterable

from megaport.gpt2 import GPT2
from megaport.llama import LLAMA
from megaport.table import Table


def table_of(names: Iterable[str]) -> Table:
    """The table to read tensors of these names by; GPT-2's, which refuses, where none fits."""
    every = frozenset(names)
    return next((table for table in (LLAMA,) if table.recognise(every)), GPT2)
