"""The classic conversion mistakes, each as a wrong reading of the checkpoint.

If the reference, made to read the checkpoint wrongly in one of these ways, agrees with the
converted model, then that is what the conversion did.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from megaport.checkpoint.model import QKV_ORDERS
from megaport.parity.inverse import VOCABULARY
from megaport.parity.misreadings import (
    LINEAR,
    Misreading,
    architecture,
    joined_first,
    layers_swapped,
    norms_swapped,
    positions_shifted,
    qkv_order,
    ranks_swapped,
    untransposed,
    vocabulary_shifted,
)
from megaport.parity.subject import Subject

Stage = Literal["embedding", "layer", "final norm", "head"]
EPSILONS = (1e-5, 1e-6, 1e-12, 1e-3)
GELUS = {"gelu_new": "the tanh GELU", "gelu": "the erf GELU", "relu": "ReLU"}

# Ranks swapped in both of a column- and row-parallel pair cancel out, and swapped in one of them
# it is all the same in which.
SECOND_OF_PAIR = {
    "attention.dense": "attention: query_key_value against dense",
    "mlp.dense_4h_to_h": "the MLP: dense_h_to_4h against dense_4h_to_h",
}


@dataclass(frozen=True)
class Mistake:
    """`name` is the kind of mistake, `sentence` what the converted model then is like."""

    name: str
    sentence: str
    stage: Stage
    apply: Misreading


def mistakes_at(subject: Subject, stage: Stage, layer: int) -> Iterator[Mistake]:
    """Every mistake that could show first at `stage`; `layer` is the diverging layer, if one is."""
    if stage == "layer":
        yield from _layer_mistakes(subject, layer)
    if stage in ("layer", "final norm"):
        yield from _norm_mistakes(subject, stage)
    if stage in ("embedding", "head"):
        yield from _vocabulary_mistakes(subject, stage)


def _layer_mistakes(subject: Subject, layer: int) -> Iterator[Mistake]:
    for order in QKV_ORDERS:
        if order != subject.checkpoint.qkv_order:
            sentence = f"query, key and value rows were read as [{order}]"
            yield Mistake("QKV order", sentence, "layer", qkv_order(order))
    for gelu, words in GELUS.items():
        sentence = f"the activation is {words} ({gelu})"
        yield Mistake("activation", sentence, "layer", architecture("activation_function", gelu))
    sentence = "the two LayerNorms of each layer are swapped"
    yield Mistake("norms swapped", sentence, "layer", norms_swapped)
    for part in LINEAR:
        sentence = f"{part}.weight was not transposed"
        yield Mistake("transpose", sentence, "layer", untransposed(part))
    for first, second in combinations(range(subject.checkpoint.tensor_parallel), 2):
        for part in SECOND_OF_PAIR:
            yield _ranks_swapped("layer", part, first, second)
    if subject.checkpoint.tensor_parallel > 1:
        sentence = "the ranks were joined before each one's query, key and value rows were undone"
        yield Mistake("QKV order", sentence, "layer", joined_first)
    for other in range(subject.architecture.n_layer):
        if other != layer:
            sentence = f"layer {layer} has the weights of layer {other}"
            yield Mistake("layers swapped", sentence, "layer", layers_swapped(layer, other))


def _norm_mistakes(subject: Subject, stage: Stage) -> Iterator[Mistake]:
    for epsilon in EPSILONS:
        if epsilon != subject.architecture.layer_norm_epsilon:
            change = architecture("layer_norm_epsilon", epsilon)
            yield Mistake("epsilon", f"the LayerNorm epsilon is {epsilon:g}", stage, change)
    one = not subject.architecture.layernorm_1p
    sentence = "1 was added to the LayerNorm weights" if one else "layernorm_1p's 1 was not added"
    yield Mistake("layernorm_1p", sentence, stage, architecture("layernorm_1p", one))


def _vocabulary_mistakes(subject: Subject, stage: Stage) -> Iterator[Mistake]:
    for by in (1, -1):
        sentence = f"the vocabulary is off by one (row i holds token i{by:+d})"
        yield Mistake("vocabulary off by one", sentence, stage, vocabulary_shifted(by))
    for first, second in combinations(range(subject.checkpoint.tensor_parallel), 2):
        for name in VOCABULARY:
            if name in subject.checkpoint.tensors:
                yield _ranks_swapped(stage, name, first, second)
    if stage == "head" and not subject.architecture.tie_word_embeddings:
        sentence = "the head is the word embedding, the checkpoint's own head is not used"
        tied = architecture("tie_word_embeddings", True)
        yield Mistake("untied head tied", sentence, stage, tied)
    if stage == "embedding":
        sentence = "the position embeddings are off by one"
        yield Mistake("positions off by one", sentence, stage, positions_shifted)


def _ranks_swapped(stage: Stage, part: str, first: int, second: int) -> Mistake:
    where = SECOND_OF_PAIR.get(part, part.removesuffix(".weight"))
    sentence = f"tensor-parallel ranks {first} and {second} are swapped in {where}"
    return Mistake("TP ranks swapped", sentence, stage, ranks_swapped(part, first, second))
