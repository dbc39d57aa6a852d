"""Published logits of the model, which also settle which activation it was trained with."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from megaport.errors import MegaportError
from megaport.parity.arithmetic import ACTIVATIONS
from megaport.parity.reference import Reference
from megaport.parity.verdict import Verdict, at_most, equal, judge, not_applicable

NAME = "published logits"
QUESTION = "Does the reference give the logits that were published, and with which activation?"
# The two GELUs that Megatron ever trained GPT-2 with (formats.md); other names are one of these.
TRIED = ("gelu_new", "gelu")
# Two fits within this factor may be told apart by FP16's rounding alone.
CLEARLY = 1.5


class GoldenError(MegaportError):
    """The file of published logits is not what it should be."""


@dataclass(frozen=True)
class Golden:
    """Published logits: `logits[i]` belongs to position `rows[i]`, vocabulary entry `columns[i]`
    of the model's output for `input_ids`; `tolerance` allows for the precision they were made in.
    """

    source: str
    input_ids: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    logits: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class Fit:
    """How far the published logits are from the reference with one activation."""

    activation: str
    max_abs: float
    rms: float

    def __str__(self) -> str:
        return f"{self.activation}: largest {self.max_abs:.2g}, rms {self.rms:.2g}"


def read_golden(path: Path) -> Golden:
    """The JSON file that config's `golden` names: the fields of Golden, by name.

    GoldenError when fields are missing, or rows, columns and logits are not of one length.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        lists = {key: tuple(found[key]) for key in ("input_ids", "rows", "columns", "logits")}
        golden = Golden(str(found["source"]), **lists, tolerance=float(found["tolerance"]))
        whole = len(golden.rows) == len(golden.columns) == len(golden.logits) > 0
        if not whole or max(golden.rows) >= len(golden.input_ids):
            raise ValueError("rows, columns and logits do not belong together")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GoldenError(
            f"published logits {path.name}",
            seen=f"{type(error).__name__}: {error}",
            expected="a JSON object with source, input_ids, rows, columns, logits, tolerance",
            remedy="Correct the file, or set `golden: null` for the model.",
        ) from error
    return golden


def check_golden(reference: Reference, golden: Golden | None) -> Verdict:
    """The configured activation must be within the tolerance, and no other fit clearly better."""
    if golden is None:
        return not_applicable(NAME, QUESTION, "no published logits are known for this model")
    configured = reference.architecture.activation_function
    mine = _fit(reference, golden, configured)
    measures = [at_most(f"difference with {configured}", mine.max_abs, golden.tolerance, "logits")]
    note = str(mine)
    if configured in ACTIVATIONS:
        others = [name for name in TRIED if ACTIVATIONS[name] is not ACTIVATIONS[configured]]
        other = min((_fit(reference, golden, name) for name in others), key=lambda fit: fit.rms)
        better = other.activation if mine.rms >= CLEARLY * other.rms else "none"
        measures.append(equal("activation that fits better", better, "none"))
        undecided = better == "none" and other.rms < CLEARLY * mine.rms
        note = f"{'undecided; ' if undecided else ''}{mine}; {other}"
    return judge(
        NAME,
        QUESTION,
        measures,
        reason=f"published by {golden.source}; the tolerance allows for the precision they were "
        f"computed in, and one activation fits clearly better when its rms is {CLEARLY:g} times "
        "smaller",
        note=note,
    )


def _fit(reference: Reference, golden: Golden, activation: str) -> Fit:
    ids = np.array([golden.input_ids])
    tried = reference.with_architecture(activation_function=activation)
    logits = tried.logits(ids)[0, list(golden.rows), list(golden.columns)]
    error = logits - np.array(golden.logits)
    return Fit(activation, float(np.abs(error).max()), float(np.sqrt(np.mean(error**2))))
