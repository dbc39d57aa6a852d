"""Three pictures of a benchmark, each readable alone: what was run, where, and the limit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from megaport.benchmark.benchmark import BenchmarkError

STYLE: Any = {
    "svg.hashsalt": "megaport",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "figure.figsize": (7.2, 4.4),
    "figure.constrained_layout.use": True,
}
Row = dict[str, Any]


def draw_plots(result: dict[str, Any], out: Path) -> list[Path]:
    """Write {throughput,latency,engines}.svg from a benchmark's JSON.

    The same JSON gives the same bytes. Raises BenchmarkError where there is no row to show.
    """
    rows = [r for r in result["rows"] if r["status"] == "measured" and r["decode_tokens_per_s"]]
    if not rows:
        raise BenchmarkError(
            "benchmark",
            seen="no engine that could be measured",
            expected="at least one",
            remedy="benchmark.txt says of each why; the log of the rule shows it.",
        )
    return [_picture(result, rows, draw, out / f"{name}.svg") for name, draw in PICTURES.items()]


def _picture(
    result: dict[str, Any], rows: list[Row], draw: Callable[..., None], path: Path
) -> Path:
    with matplotlib.rc_context(STYLE):
        figure = Figure()
        axes = figure.subplots()
        draw(axes, rows, result)
        where = f"{result['device']}: {result['environment']['machine']}"
        axes.set_title(f"{axes.get_title()}\n{where}", fontsize=10)
        figure.savefig(path, metadata={"Date": None})
    return path


def _throughput(axes: Axes, rows: list[Row], result: dict[str, Any]) -> None:
    """Decode speed over batch size, under the roof of memory bandwidth."""
    shown = [row for row in rows if row["workload"] == "batch"]
    for label, group in _by_engine(shown).items():
        rates = [row["decode_tokens_per_s"] for row in group]
        middle = np.array([rate["median"] for rate in rates])
        spread = [
            middle - [rate["low"] for rate in rates],
            [rate["high"] for rate in rates] - middle,
        ]
        batches = [row["batch"] for row in group]
        axes.errorbar(batches, middle, yerr=np.array(spread), marker="o", capsize=3, label=label)
    copy = result["copy_bytes_per_s"]["median"]
    for dtype in sorted({row["dtype"] for row in shown}):
        roof = {
            row["batch"]: row["batch"] * copy / row["bytes_per_step"]
            for row in shown
            if row["dtype"] == dtype
        }
        axes.plot(
            *zip(*sorted(roof.items()), strict=True),
            "k--" if dtype != "float32" else "k:",
            label=f"limit, {dtype}",
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sorted({row["batch"] for row in shown}))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlabel("batch (rows)")
    axes.set_ylabel("tokens per second, all rows")
    axes.set_title(f"Decode speed; limit = copy bandwidth, {copy / 1e9:.1f} GB/s")
    axes.legend(fontsize=8)


def _latency(axes: Axes, rows: list[Row], result: dict[str, Any]) -> None:
    """How long single tokens took, as the share of tokens that were at least as fast."""
    for label, group in _by_engine(_card(rows)).items():
        steps = np.sort([1e3 * s for row in group for x in row["samples"] for s in x["token_s"]])
        axes.step(steps, np.arange(1, steps.size + 1) / steps.size, where="post", label=label)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("milliseconds per token, batch 1")
    axes.set_ylabel("share of tokens")
    axes.set_title("Latency of single tokens, one text of 32")
    axes.legend(fontsize=8)


def _engines(axes: Axes, rows: list[Row], result: dict[str, Any]) -> None:
    """The card's workload end to end, engine beside engine."""
    groups = {label: group[0]["end_to_end_s"] for label, group in _by_engine(_card(rows)).items()}
    places = np.arange(len(groups))
    for place, time in zip(places, groups.values(), strict=True):
        error = [[time["median"] - time["low"]], [time["high"] - time["median"]]]
        axes.barh(place, time["median"], xerr=error, capsize=3)
        axes.annotate(f" {time['median']:.3f} s", (time["high"], place), va="center", fontsize=9)
    axes.set_yticks(places, list(groups))
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("seconds, median and 95 % interval")
    axes.set_title("The model card's workload: one text, max_length=32")


PICTURES = {"throughput": _throughput, "latency": _latency, "engines": _engines}


def _card(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["workload"] == "card"]


def _by_engine(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row['engine']} {row['dtype']}", []).append(row)
    return {
        label: sorted(group, key=lambda row: int(row["batch"])) for label, group in groups.items()
    }
