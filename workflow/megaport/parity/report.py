"""The report: parity.json for programs, parity.txt for people."""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megaport.parity.diagnose import Diagnosis
from megaport.parity.profile import LayerDivergence
from megaport.parity.result import Result, short
from megaport.tensors import Array

SCHEMA = 1
WIDTH = 100
MARKS = {"passed": "ok  ", "failed": "FAIL", "not applicable": "n/a "}


@dataclass(frozen=True)
class ParityReport:
    """Everything parity found; `layers` and `points` (what to draw: [2, n] logits of both sides)
    are empty when nothing could be run, `diagnosis` is None then and when all passed."""

    device: str
    results: tuple[Result, ...]
    layers: tuple[LayerDivergence, ...] = ()
    points: Mapping[str, Array] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None

    @property
    def failed(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.verdict == "failed")

    @property
    def verdict(self) -> str:
        return "failed" if self.failed else "passed"

    @property
    def cause(self) -> str:
        """One sentence: the first diverging stage and what explains it."""
        if self.diagnosis is None or not self.diagnosis.diverging:
            notes = [f"{result.name}: {result.note}" for result in self.failed if result.note]
            return notes[0] if notes else "see the failed checks"
        where = f"first diverging stage: {self.diagnosis.first}"
        likely = [f"{f.cause}: {f.sentence}" for f in self.diagnosis.findings]
        return f"{where}; likely cause: {'; '.join(likely) or 'none of the classic mistakes'}"

    def plain(self) -> dict[str, Any]:
        """As JSON values, without anything of the machine but the kind of device."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "cause": self.cause if self.failed else None,
            "device": self.device,
            "checks": [result.plain() for result in self.results],
            "layers": [
                {
                    "stage": layer.stage,
                    "difference": short(layer.difference),
                    "rounding": short(layer.rounding),
                }
                for layer in self.layers
            ],
            "diagnosis": self.diagnosis.plain() if self.diagnosis else None,
        }


def write_report(report: ParityReport, out: Path) -> None:
    """Write parity.json and parity.txt into folder `out`."""
    data = json.dumps(report.plain(), indent=2, ensure_ascii=False, allow_nan=False)
    (out / "parity.json").write_text(data + "\n", encoding="utf-8")
    (out / "parity.txt").write_text(render(report), encoding="utf-8")


def render(report: ParityReport) -> str:
    """The report as text, at most 100 columns where words allow."""
    lines = [_headline(report), ""]
    for result in report.results:
        lines += _render_result(result)
    if report.diagnosis is not None:
        lines += _render_diagnosis(report.diagnosis)
    return "\n".join(lines).rstrip() + "\n"


def _headline(report: ParityReport) -> str:
    counts = [
        f"{sum(result.verdict == verdict for result in report.results)} {verdict}"
        for verdict in MARKS
    ]
    verdict = "the converted model is the checkpoint's model"
    if report.failed:
        verdict = f"FAILED. {report.cause}"
    return "\n".join(_wrap(f"Parity on {report.device}: {', '.join(counts)}: {verdict}", ""))


def _render_result(result: Result) -> list[str]:
    lines = [f"{MARKS[result.verdict]} {result.name}: {result.question}"]
    for measure in result.measures:
        mark = "" if measure.holds else "  <-- FAIL"
        lines.append(f"       {measure.quantity}: {measure.seen} ({measure.allowed}){mark}")
    lines += _wrap(f"why: {result.reason}", "       ")
    if result.note:
        lines += _wrap(f"note: {result.note}", "       ")
    return [*lines, ""]


def _render_diagnosis(diagnosis: Diagnosis) -> list[str]:
    lines = ["Diagnosis", f"  first diverging stage: {diagnosis.first}"]
    for finding in diagnosis.findings:
        lines += _wrap(
            f"{finding.cause}: {finding.sentence}. Read so, {finding.first} differs by "
            f"{finding.after:.2g} instead of {finding.before:.2g}; this explains "
            f"{', '.join(finding.stages)}.",
            "  ",
        )
    if diagnosis.unexplained:
        stages = ", ".join(diagnosis.unexplained)
        lines += _wrap(f"no classic mistake explains: {stages}", "  ")
    return lines


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
