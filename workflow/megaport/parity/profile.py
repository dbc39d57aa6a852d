"""How far both sides are apart after each layer, each run from the token ids on."""

from dataclasses import dataclass

import numpy as np

from megaport.parity.converted import Trace
from megaport.parity.subject import Subject
from megaport.tensors import Array


@dataclass(frozen=True)
class LayerDivergence:
    """Largest differences of the hidden states after a stage: converted model against reference,
    and the float32 reference against its float64 self (what rounding alone does)."""

    stage: str
    difference: float
    rounding: float


def layer_divergence(subject: Subject, ids: Array, trace: Trace) -> list[LayerDivergence]:
    """One entry for the embeddings and one for each layer, for short `ids` [1, S]."""
    single = subject.reference().hidden_states(ids)
    double = subject.reference("float64").hidden_states(ids)
    return [
        LayerDivergence(_name(index), _largest(one - converted), _largest(one - two))
        for index, (one, two, converted) in enumerate(
            zip(single, double, trace.states, strict=True)
        )
    ]


def _name(index: int) -> str:
    return f"layer {index - 1}" if index else "embedding"


def _largest(difference: Array) -> float:
    return float(np.abs(difference).max())
