"""What the architecture cannot express, found in args and tensors and refused by its name."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from megaport.checkpoint.arguments import HYBRID, MLA, MOE, T5, features_of_args
from megaport.errors import MegaportError
from megaport.sizes import Shape
from megaport.table import Table, split_layer

# Names that no table has, and what they belong to; the first that matches counts.
_NAMES = (
    (r"tokentype_embeddings|token_type_embeddings", "token types (BERT)"),
    (r"inter_attention|cross_attention|cross_attn|^encoder\.|\.decoder\.|_for_decoder", T5),
    (
        r"pooler|binary_head|lm_head\.(dense|layernorm|layer_norm|bias)|classification_head"
        r"|multichoice_head",
        "a head other than the language model's (BERT)",
    ),
    (r"experts|router|\.gate\.", MOE),
    (r"rotary|inv_freq", "rotary position embeddings"),
    (r"\b[qk]_(layernorm|norm)\b", "LayerNorm on queries and keys"),
    (r"embeddings?\.(norm|layernorm)|embedding_layernorm", "a LayerNorm on the embedding"),
    (r"linear_(q|kv)(_|\.)", f"separate query and key projections or {MLA}"),
    (r"(^|\.)mtp\.", "multi-token prediction"),
    (r"mixer|conv1d|A_log", HYBRID),
    (r"(^|\.)(norm|final_linear)\.(weight|bias)$", "GPT-NeoX's model, with rotary positions"),
)


class UnsupportedModelError(MegaportError):
    """A model with features that no table expresses; lists each and where it was seen."""


def refuse_features(
    source: str,
    table: Table,
    args: Mapping[str, Any] | None,
    shapes: Mapping[str, Shape],
    unknown: Collection[str],
) -> None:
    """Raise `UnsupportedModelError` with every feature that args, shapes and unknown names show.

    `shapes` are the joined shapes by canonical name, `unknown` the names that have no canonical
    one. A single odd tensor is left to the accounting: a feature shows in every layer.
    """
    found: dict[str, list[str]] = {}
    for feature, evidence in (
        *(features_of_args(table, args) if args else ()),
        *_of_names(unknown),
        *_of_shapes(table, shapes),
    ):
        found.setdefault(feature, []).append(evidence)
    if found:
        raise UnsupportedModelError(
            source,
            seen="; ".join(f"{feature} ({_some(seen)})" for feature, seen in found.items()),
            expected=table.kind,
            remedy="What is asked for here cannot be expressed by it; convert the model to the "
            "architecture it is.",
        )


def _some(evidence: list[str], shown: int = 3) -> str:
    more = len(evidence) - shown
    return ", ".join(evidence[:shown]) + (f" and {more} more" if more > 0 else "")


def _of_names(unknown: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in unknown:
        for pattern, feature in _NAMES:
            if re.search(pattern, name):
                yield feature, f"tensor {name}"
                break


def _of_shapes(table: Table, shapes: Mapping[str, Shape]) -> list[tuple[str, str]]:
    """What every layer shows, each a mapping of a tensor's name in it to its shape."""
    layers: dict[int, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        if place := split_layer(name):
            layers.setdefault(place[0], {})[place[1]] = shape
    shown = [list(table.features(layer)) for layer in layers.values()]
    return [one for one in shown[0] if all(one in other for other in shown)] if shown else []
