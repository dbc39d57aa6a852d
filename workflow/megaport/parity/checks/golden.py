"""Published logits of the model, which also settle which activation it was trained with."""

from dataclasses import dataclass

import numpy as np

from megaport.parity.gelu import ACTIVATIONS
from megaport.parity.result import Measure, Result, at_most, judge, not_applicable
from megaport.parity.subject import Golden, Subject

NAME = "published logits"
QUESTION = "Does the reference give the logits that were published, and with which activation?"
# The two GELUs that Megatron ever trained GPT-2 with (formats.md); other names are one of these.
TRIED = ("gelu_new", "gelu")
# Two fits within this factor may be told apart by FP16's rounding alone.
CLEARLY = 1.5


@dataclass(frozen=True)
class Fit:
    """How far the published logits are from the reference with one activation."""

    activation: str
    max_abs: float
    rms: float

    def __str__(self) -> str:
        return f"{self.activation}: largest {self.max_abs:.2g}, rms {self.rms:.2g}"


def check_golden(subject: Subject, golden: Golden | None) -> Result:
    """The configured activation must be within the tolerance, and no other fit clearly better."""
    if golden is None:
        return not_applicable(NAME, QUESTION, "no published logits are known for this model")
    configured = subject.architecture.activation_function
    fits = {name: _fit(subject, golden, name) for name in {*TRIED, configured}}
    mine = fits[configured]
    others = [fits[name] for name in TRIED if ACTIVATIONS[name] is not ACTIVATIONS[configured]]
    other = min(others, key=lambda fit: fit.rms)
    measures = [
        at_most(f"largest difference with {configured}", mine.max_abs, golden.tolerance),
        Measure(
            "activation that fits best",
            _decided(mine, other),
            f"{configured}, or undecided",
            mine.rms < CLEARLY * other.rms,
        ),
    ]
    return judge(
        NAME,
        QUESTION,
        measures,
        reason=f"published by {golden.source}; the tolerance allows for the precision they were "
        f"computed in, and one activation fits clearly better when its rms is {CLEARLY:g} times "
        "smaller",
        note=f"{mine}; {other}",
    )


def _decided(mine: Fit, other: Fit) -> str:
    if mine.rms >= CLEARLY * other.rms:
        return other.activation
    return mine.activation if other.rms >= CLEARLY * mine.rms else "undecided"


def _fit(subject: Subject, golden: Golden, activation: str) -> Fit:
    ids = np.array([golden.input_ids])
    tried = subject.with_architecture(activation_function=activation)
    logits = tried.reference().logits(ids)[0, list(golden.rows), list(golden.columns)]
    error = logits - np.array(golden.logits)
    return Fit(activation, float(np.abs(error).max()), float(np.sqrt(np.mean(error**2))))
