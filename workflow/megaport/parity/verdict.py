"""What parity says: of each check quantities, their limits and why, and what explains a failure."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["passed", "failed", "not applicable"]
Value = float | int | str


@dataclass(frozen=True)
class Measure:
    """One quantity: the value `seen` and its `limit`, in `unit` ("" for names and bare numbers).

    `smaller_is_better` is True where `seen` may lie anywhere below the limit, None where it must
    equal the limit, or where there is no limit and it is only told.
    """

    quantity: str
    seen: Value
    limit: Value | None
    unit: str
    smaller_is_better: bool | None
    holds: bool

    @property
    def allowed(self) -> str:
        """The limit in words."""
        if self.limit is None:
            return "told, not judged"
        return f"{'at most' if self.smaller_is_better else 'exactly'} {self.limit}"


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check; `reason` says why the limits are what they are."""

    name: str
    question: str
    outcome: Outcome
    reason: str
    measures: tuple[Measure, ...] = ()
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON values, floats to three digits."""
        return {
            "name": self.name,
            "question": self.question,
            "verdict": self.outcome,
            "measures": [{**asdict(m), "allowed": m.allowed} for m in self.measures],
            "reason": self.reason,
            "note": self.note,
        }


@dataclass(frozen=True)
class Cause:
    """A classic mistake: `name` is its kind, `sentence` what the converted tensor then is."""

    name: str
    sentence: str


def short(value: float) -> float | str:
    """Three significant digits: more would only tell one machine's rounding from another's.

    What JSON has no number for (infinity, not a number) becomes its name.
    """
    return float(f"{value:.3g}") if math.isfinite(value) else str(value)


def at_most(quantity: str, seen: float, limit: float, unit: str) -> Measure:
    """`seen` may be up to `limit`; NaN never holds."""
    return Measure(quantity, short(seen), short(limit), unit, True, bool(seen <= limit))


def equal(quantity: str, seen: Value, expected: Value) -> Measure:
    """`seen` must be exactly `expected`."""
    return Measure(quantity, seen, expected, "", None, seen == expected)


def told(quantity: str, seen: float, unit: str) -> Measure:
    """A number that people want to see, without a limit."""
    return Measure(quantity, short(seen), None, unit, None, True)


def judge(
    name: str, question: str, measures: Sequence[Measure], *, reason: str, note: str = ""
) -> Verdict:
    """Passed when every measure holds."""
    outcome: Outcome = "passed" if all(m.holds for m in measures) else "failed"
    return Verdict(name, question, outcome, reason, tuple(measures), note)


def not_applicable(name: str, question: str, why: str) -> Verdict:
    """The check cannot be made on this model, said instead of silently dropped."""
    return Verdict(name, question, "not applicable", why)
