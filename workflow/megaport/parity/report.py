"""The report: parity.json for programs, parity.txt for people."""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megaport.parity.comparison import BlockDifference
from megaport.parity.verdict import Cause, Verdict, short
from megaport.tensors import Array

SCHEMA = 2
WIDTH = 100
MARKS = {"passed": "ok  ", "failed": "FAIL", "not applicable": "n/a "}
# formats.md, "What cannot be told".
UNTELLABLE = (
    "whether the file is what training left: two layers exchanged, a square matrix transposed or a "
    "weight scaled before it was written",
    "whether a head of its own was lost before the file was written: such a model looks tied",
    "which GELU was trained with, where neither args nor published logits say so: a text hardly "
    "feels it",
)


@dataclass(frozen=True)
class ParityReport:
    """Everything parity found; `cause` is the classic mistake that explains a failure, None where
    none does. `blocks` and `positions` (the largest difference of logits at each position, as a
    share of its limit, by input) are empty when nothing could be run."""

    device: str
    verdicts: tuple[Verdict, ...]
    cause: Cause | None = None
    blocks: tuple[BlockDifference, ...] = ()
    positions: Mapping[str, Array] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.outcome == "failed")

    @property
    def outcome(self) -> str:
        return "failed" if self.failed else "passed"

    @property
    def first(self) -> str | None:
        """The first block that differs, given what the converted model gives it."""
        return next((block.name for block in self.blocks if not block.agrees), None)

    @property
    def diagnosis(self) -> str:
        """One sentence: where the converted model first differs, and what explains it."""
        where = [f"first differs at {self.first}"] if self.first else []
        if self.cause is not None:
            where.append(f"likely cause: {self.cause.name}: {self.cause.sentence}")
        notes = [f"{verdict.name}: {verdict.note}" for verdict in self.failed if verdict.note]
        return "; ".join(where + notes[: 0 if self.cause else 1]) or "see the failed checks"

    @property
    def counts(self) -> str:
        """How many checks had each outcome."""
        outcomes: list[str] = [verdict.outcome for verdict in self.verdicts]
        return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in MARKS)

    def plain(self) -> dict[str, Any]:
        """As JSON values, without anything of the machine but the kind of device."""
        return {
            "schema": SCHEMA,
            "verdict": self.outcome,
            "counts": self.counts,
            "cause": self.diagnosis if self.failed else None,
            "mistake": self.cause.name if self.cause else None,
            "first_difference": self.first,
            "device": self.device,
            "checks": [verdict.plain() for verdict in self.verdicts],
            "untellable": list(UNTELLABLE),
            "blocks": [
                {"name": b.name, "difference": short(b.difference), "limit": short(b.limit)}
                for b in self.blocks
            ],
        }


def write_report(report: ParityReport, out: Path) -> None:
    """Write parity.json and parity.txt into folder `out`."""
    data = json.dumps(report.plain(), indent=2, ensure_ascii=False, allow_nan=False)
    (out / "parity.json").write_text(data + "\n", encoding="utf-8")
    (out / "parity.txt").write_text(render(report), encoding="utf-8")


def render(report: ParityReport) -> str:
    """The report as text, at most 100 columns where words allow."""
    said = "the converted model is the checkpoint's model"
    if report.failed:
        said = f"FAILED. {report.diagnosis}"
    lines = [*_wrap(f"Parity on {report.device}: {report.counts}: {said}", ""), ""]
    for verdict in report.verdicts:
        lines += _render_verdict(verdict)
    lines.append("What no comparison can tell")
    for what in UNTELLABLE:
        lines += _wrap(f"- {what}", "  ")
    return "\n".join(lines) + "\n"


def _render_verdict(verdict: Verdict) -> list[str]:
    lines = [f"{MARKS[verdict.outcome]} {verdict.name}: {verdict.question}"]
    for measure in verdict.measures:
        mark = "" if measure.holds else "  <-- FAIL"
        seen = f"{measure.seen} {measure.unit}".rstrip()
        lines.append(f"       {measure.quantity}: {seen} ({measure.allowed}){mark}")
    lines += _wrap(f"why: {verdict.reason}", "       ")
    if verdict.note:
        lines += _wrap(f"note: {verdict.note}", "       ")
    return [*lines, ""]


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
