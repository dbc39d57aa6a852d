"""What a check says: quantities seen, what they may be and why, and a verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["passed", "failed", "not applicable"]
Value = float | int | str


@dataclass(frozen=True)
class Measure:
    """One quantity: the value seen, what was allowed, and whether it holds."""

    quantity: str
    seen: Value
    allowed: str
    holds: bool


@dataclass(frozen=True)
class Result:
    """The outcome of one check; `reason` says why what is allowed is allowed."""

    name: str
    question: str
    verdict: Verdict
    reason: str
    measures: tuple[Measure, ...] = ()
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON values, floats to three digits."""
        measures = [
            {"quantity": m.quantity, "seen": m.seen, "allowed": m.allowed, "holds": m.holds}
            for m in self.measures
        ]
        return {
            "name": self.name,
            "question": self.question,
            "verdict": self.verdict,
            "measures": measures,
            "reason": self.reason,
            "note": self.note,
        }


def short(value: float) -> float | str:
    """Three significant digits: more would only tell one machine's rounding from another's.

    What JSON has no number for (infinity, not a number) becomes its name.
    """
    return float(f"{value:.3g}") if math.isfinite(value) else str(value)


def at_most(quantity: str, seen: float, limit: float) -> Measure:
    """`seen` may be up to `limit`; NaN never holds."""
    return Measure(quantity, short(seen), f"at most {limit:.3g}", bool(seen <= limit))


def equal(quantity: str, seen: Value, expected: Value) -> Measure:
    """`seen` must be exactly `expected`."""
    return Measure(quantity, seen, f"exactly {expected}", seen == expected)


def judge(
    name: str, question: str, measures: Sequence[Measure], *, reason: str, note: str = ""
) -> Result:
    """Passed when every measure holds."""
    verdict: Verdict = "passed" if all(m.holds for m in measures) else "failed"
    return Result(name, question, verdict, reason, tuple(measures), note)


def not_applicable(name: str, question: str, why: str) -> Result:
    """The check cannot be made on this model, said instead of silently dropped."""
    return Result(name, question, "not applicable", why)
