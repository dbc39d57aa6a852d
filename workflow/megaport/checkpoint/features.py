"""What GPT-2 cannot express, found in args and tensors and refused by its name."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from megaport.checkpoint import arg_features as named
from megaport.errors import MegaportError
from megaport.gpt2 import DENSE, DOWN, INPUT_NORM, POST_NORM, QKV, UP

Shapes = Mapping[str, tuple[int, ...]]

# Names that no GPT-2 has, and what they belong to; the first that matches counts.
_NAMES = (
    (r"tokentype_embeddings|token_type_embeddings", "token types (BERT)"),
    (r"inter_attention|cross_attention|cross_attn|^encoder\.|\.decoder\.|_for_decoder", named.T5),
    (
        r"pooler|binary_head|lm_head\.(dense|layernorm|layer_norm|bias)|classification_head"
        r"|multichoice_head",
        "a head other than the language model's (BERT)",
    ),
    (r"experts|router|\.gate\.", named.MOE),
    (r"rotary|inv_freq", named.ROTARY),
    (r"\b[qk]_(layernorm|norm)\b", "LayerNorm on queries and keys"),
    (r"embeddings?\.(norm|layernorm)|embedding_layernorm", "a LayerNorm on the embedding"),
    (r"linear_(q|kv)(_|\.)", "separate or latent query and key projections"),
    (r"(^|\.)mtp\.", "multi-token prediction"),
    (r"mixer|conv1d|A_log", "state-space layers"),
)


class NotGPT2Error(MegaportError):
    """A model with features that GPT-2 cannot express; lists each and where it was seen."""


def refuse_features(
    source: str,
    args: Mapping[str, Any] | None,
    shapes: Shapes,
    unknown: Collection[str],
    layers: int,
) -> None:
    """Raise `NotGPT2Error` with every feature that args, shapes and unknown names show.

    `shapes` are the joined shapes by canonical name, `unknown` the names that have no canonical
    one. A single odd tensor is left to the accounting: a feature shows in every layer.
    """
    found: dict[str, list[str]] = {}
    for feature, evidence in (
        *(named.features_of_args(args) if args else ()),
        *_of_names(unknown),
        *_of_shapes(shapes, layers),
    ):
        found.setdefault(feature, []).append(evidence)
    if found:
        raise NotGPT2Error(
            source,
            seen="; ".join(f"{feature} ({_some(seen)})" for feature, seen in found.items()),
            expected="a GPT-2: learned positions, LayerNorm, GELU, biases, plain attention",
            remedy="GPT-2 cannot express this model; convert it to the architecture it is.",
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


def _of_shapes(shapes: Shapes, layers: int) -> Iterator[tuple[str, str]]:
    for feature, test, evidence in (
        (named.NO_BIAS, _no_linear_bias, "no bias of a linear layer"),
        (named.RMSNORM, _no_norm_bias, "no bias of a norm"),
        (named.GATED, _gated, "mlp.dense_h_to_4h has twice the rows dense_4h_to_h takes"),
        (named.GQA, _grouped, "query_key_value has fewer than 3 x hidden rows"),
        (named.HEAD_SIZE, _wide_heads, "query_key_value and dense agree on a larger width"),
    ):
        if layers and all(test(shapes, f"layers.{number}") for number in range(layers)):
            yield feature, evidence


def _no_linear_bias(shapes: Shapes, layer: str) -> bool:
    modules = (QKV, DENSE, UP, DOWN)
    # query_key_value may keep its bias alone (add_qkv_bias), so it does not decide.
    return not any(f"{layer}.{module}.bias" in shapes for module in modules[1:])


def _no_norm_bias(shapes: Shapes, layer: str) -> bool:
    norms = (INPUT_NORM, POST_NORM)
    return not any(f"{layer}.{norm}.bias" in shapes for norm in norms)


def _matrix(shapes: Shapes, name: str) -> tuple[int, int] | None:
    shape = shapes.get(f"{name}.weight", ())
    return (shape[0], shape[1]) if len(shape) == 2 else None


def _pair(shapes: Shapes, layer: str, first: str, second: str) -> list[int] | None:
    found = [_matrix(shapes, f"{layer}.{module}") for module in (first, second)]
    return [size for shape in found if shape for size in shape] if all(found) else None


def _gated(shapes: Shapes, layer: str) -> bool:
    sizes = _pair(shapes, layer, UP, DOWN)
    return sizes is not None and sizes[0] == 2 * sizes[3]


def _grouped(shapes: Shapes, layer: str) -> bool:
    sizes = _pair(shapes, layer, QKV, DENSE)
    return sizes is not None and sizes[3] < sizes[0] < 3 * sizes[3]


def _wide_heads(shapes: Shapes, layer: str) -> bool:
    sizes = _pair(shapes, layer, QKV, DENSE)
    # Narrower is also what one of several tensor-parallel ranks looks like.
    return sizes is not None and sizes[0] == 3 * sizes[3] and sizes[3] > sizes[1]
