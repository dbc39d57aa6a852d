"""Where the converted model leaves the checkpoint's, and which classic mistake explains it.

Each stage of the reference is given the converted model's own input to that stage, so that an
error upstream does not spill over: the first stage whose output differs is the first that is wrong.
There the reference makes each mistake of `mistakes` in turn; the one that restores agreement is
what the conversion did.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from megaport.parity.converted import Trace
from megaport.parity.mistakes import Mistake, Stage, mistakes_at
from megaport.parity.reference import Reference
from megaport.parity.result import short
from megaport.parity.subject import Subject
from megaport.tensors import Array

# As for logits: eight times the reference's own float32 rounding of this stage, and at least what
# rounding to float32 (2**-24) leaves after sums of a few terms.
FACTOR = 8.0
FLOOR = 1e-6
# Searching costs a stage's run for every mistake; two independent mistakes are already rare.
FINDINGS = 3


@dataclass(frozen=True)
class Step:
    """One stage of the forward pass: its name, kind, layer number, and what went in and out."""

    name: str
    stage: Stage
    layer: int
    given: Array
    gave: Array


@dataclass(frozen=True)
class Finding:
    """A cause: at `first` the difference fell from `before` to `after`; it explains `stages`."""

    cause: str
    sentence: str
    first: str
    before: float
    after: float
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """`diverging` stages in order; `findings` explain them; `unexplained` ones no mistake does."""

    diverging: tuple[str, ...]
    findings: tuple[Finding, ...]
    unexplained: tuple[str, ...]

    @property
    def first(self) -> str:
        return self.diverging[0] if self.diverging else "none"

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        found = [
            {
                "cause": finding.cause,
                "sentence": finding.sentence,
                "first": finding.first,
                "difference": short(finding.before),
                "difference_if_so": short(finding.after),
                "explains": list(finding.stages),
            }
            for finding in self.findings
        ]
        return {
            "first_divergence": self.first,
            "diverging": list(self.diverging),
            "causes": found,
            "unexplained": list(self.unexplained),
        }


def diagnose(subject: Subject, ids: Array, trace: Trace) -> Diagnosis:
    """Compare the stages of the converted model's `trace` of `ids` [1, S] with the reference's."""
    wrong = [s for s in steps(subject, ids, trace) if _difference(subject, s) > _limit(subject, s)]
    left = list(wrong)
    findings: list[Finding] = []
    while left and len(findings) < FINDINGS:
        mistake = _cause(subject, left[0])
        if mistake is None:
            break
        solved = [step for step in left if _explains(subject, step, mistake)]
        findings.append(_finding(subject, mistake, left[0], solved))
        left = [step for step in left if all(step is not other for other in solved)]
    return Diagnosis(
        tuple(step.name for step in wrong), tuple(findings), tuple(step.name for step in left)
    )


def steps(subject: Subject, ids: Array, trace: Trace) -> list[Step]:
    """The stages of one traced forward pass, in order."""
    blocks = zip(trace.states, trace.states[1:], strict=False)
    return [
        Step("embedding", "embedding", 0, ids, trace.states[0]),
        *(Step(f"layer {i}", "layer", i, *pair) for i, pair in enumerate(blocks)),
        Step("final norm", "final norm", 0, trace.states[-1], trace.normed),
        Step("head", "head", 0, trace.normed, trace.logits[..., 1:-1]),
    ]


def _run(reference: Reference, step: Step) -> Array:
    if step.stage == "embedding":
        return reference.embed(step.given)
    if step.stage == "layer":
        return reference.layer(step.layer, step.given)
    if step.stage == "final norm":
        return reference.final(step.given)
    # Not the ends of the vocabulary: a head off by one takes these from anywhere.
    return reference.project(step.given)[..., 1:-1]


def _difference(subject: Subject, step: Step) -> float:
    """The largest difference between the reference's stage and the converted model's."""
    difference = np.abs(_run(subject.reference(), step) - step.gave).max()
    return float(difference) if np.isfinite(difference) else float("inf")


def _limit(subject: Subject, step: Step) -> float:
    single = _run(subject.reference(), step)
    given = step.given if step.stage == "embedding" else step.given.astype(np.float64)
    double = _run(
        subject.reference("float64"), Step(step.name, step.stage, step.layer, given, step.gave)
    )
    rounding = float(np.abs(single - double).max())
    return max(FACTOR * rounding, FLOOR * float(np.abs(double).max()))


def _explains(subject: Subject, step: Step, mistake: Mistake) -> bool:
    if mistake.stage != step.stage and not {mistake.stage, step.stage} <= {"layer", "final norm"}:
        return False
    misread = mistake.apply(subject, step.layer)
    return _difference(misread, step) <= _limit(subject, step)


def _cause(subject: Subject, step: Step) -> Mistake | None:
    """The mistake that restores agreement at `step`; the closest one if several do."""
    tried = [
        (_difference(mistake.apply(subject, step.layer), step), index, mistake)
        for index, mistake in enumerate(mistakes_at(subject, step.stage, step.layer))
    ]
    difference, _, mistake = min(tried)
    return mistake if difference <= _limit(subject, step) else None


def _finding(subject: Subject, mistake: Mistake, step: Step, solved: Sequence[Step]) -> Finding:
    return Finding(
        cause=mistake.name,
        sentence=mistake.sentence,
        first=step.name,
        before=_difference(subject, step),
        after=_difference(mistake.apply(subject, step.layer), step),
        stages=tuple(other.name for other in solved),
    )
