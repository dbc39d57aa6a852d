"""The Megatron trees that `export` writes: canonical names placed where each era keeps them."""

from collections.abc import Callable
from typing import Any

from megaport.convert.pickle_writer import Leaf
from megaport.convert.table import Row, rows

Make = Callable[[Row], Leaf]


def ngc_tree(layers: int, leaf: Make) -> dict[str, Any]:
    """NGC's 345M: `model.language_model.{embedding, transformer}`, no args and no version."""
    wanted = {row.megatron: leaf(row) for row in rows(layers, tied=True)}
    return {"model": {"language_model": _language_model(wanted, "transformer")}}


def _language_model(leaves: dict[str, Leaf], body: str) -> dict[str, Any]:
    words = leaves.pop("word_embeddings.weight")
    positions = leaves.pop("position_embeddings.weight")
    embedding = {
        "word_embeddings": {"weight": words},
        "position_embeddings": {"weight": positions},
    }
    return {"embedding": embedding, body: leaves}
