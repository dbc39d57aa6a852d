"""Two pictures of a benchmark, each with its finding as title, the limit and where it was run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from megaport.benchmark.benchmark import BenchmarkError
from megaport.benchmark.summary import decoded, speed
from megaport.figures import INK, draw

Row = dict[str, Any]
Paint = Callable[[Axes], None]
MARKERS = "osD"  # a dtype each; an engine has a colour


def draw_plots(result: dict[str, Any], out: Path) -> None:
    """Write out/throughput.svg and out/engines.svg from a benchmark's JSON: always the same.

    Raises BenchmarkError where there is no row to show.
    """
    rows = decoded(result["rows"])
    if not rows:
        raise BenchmarkError(
            "benchmark",
            seen="no engine that could be measured",
            expected="at least one",
            remedy="benchmark.txt says of each why; the log of the rule shows it.",
        )
    for name, picture in (("throughput", _throughput), ("engines", _engines)):
        draw(out / f"{name}.svg", *picture(rows, result))


def _throughput(rows: list[Row], result: dict[str, Any]) -> tuple[str, Paint]:
    """Decode speed over batch size, under the roof of memory bandwidth."""
    shown = [row for row in rows if row["workload"] == "batch"] or rows
    best = max(shown, key=speed)
    share = speed(best) / _limit(best, result)
    title = (
        f"{best['engine']} in {best['dtype']} gives most: {speed(best):,.0f} tokens/s at batch "
        f"{best['batch']}, {share:.0%} of memory's limit"
    )
    return title, partial(_paint_throughput, shown, result)


def _paint_throughput(rows: list[Row], result: dict[str, Any], axes: Axes) -> None:
    engines, dtypes = (list(dict.fromkeys(row[key] for row in rows)) for key in ("engine", "dtype"))
    for label, group in _by_engine(rows).items():
        form: dict[str, Any] = {
            "color": f"C{engines.index(group[0]['engine'])}",
            "marker": MARKERS[dtypes.index(group[0]["dtype"])],
        }
        axes.plot([row["batch"] for row in group], list(map(speed, group)), label=label, **form)
    for dtype in sorted({row["dtype"] for row in rows}):
        roof = {row["batch"]: _limit(row, result) for row in rows if row["dtype"] == dtype}
        batches, speeds = zip(*sorted(roof.items()), strict=True)
        axes.plot(batches, speeds, "--", color=INK, linewidth=1)
        above: Any = {"xytext": (0, 4), "textcoords": "offset points", "ha": "right"}
        axes.annotate(f"limit, {dtype}", (batches[-1], speeds[-1]), **above)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({row["batch"] for row in rows}))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.15)
    axes.set_ylim(bottom=min(map(speed, rows)) / 4)  # room for the legend
    axes.set_xlabel(f"batch (rows)\n{_where(result)}")
    axes.set_ylabel("tokens per second, all rows")
    axes.legend(loc="lower right", ncols=2, fontsize=9)


def _engines(rows: list[Row], result: dict[str, Any]) -> tuple[str, Paint]:
    """The card's workload end to end, engine beside engine."""
    card = [row for row in rows if row["workload"] == "card"] or rows
    times = {label: group[0]["end_to_end_s"] for label, group in _by_engine(card).items()}
    first, last = (pick(times, key=lambda label: times[label]["median"]) for pick in (min, max))
    gain = times[last]["median"] / times[first]["median"]
    title = f"{first} writes the model card's text in {times[first]['median']:.2f} s"
    title += f", {gain:.1f} times as fast as {last}" if first != last else ""
    return title, partial(_paint_engines, times, result)


def _paint_engines(times: dict[str, Any], result: dict[str, Any], axes: Axes) -> None:
    for place, (label, time) in enumerate(times.items()):
        error = [[time["median"] - time["low"]], [time["high"] - time["median"]]]
        axes.barh(place, time["median"], xerr=error, capsize=3, ecolor=INK, label=label)
        beside: Any = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{time['median']:.2f} s", (time["high"], place), **beside)
    axes.set_yticks(range(len(times)), list(times))
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlabel(f"seconds for a text: shorter is faster\n{_where(result)}")


def _limit(row: Row, result: dict[str, Any]) -> float:
    """Tokens a second if memory were read at the speed it is copied at."""
    return float(row["batch"] * result["copy_bytes_per_s"]["median"] / row["bytes_per_step"])


def _where(result: dict[str, Any]) -> str:
    return f"{result['device']}: {result['environment']['machine']}"


def _by_engine(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row['engine']} {row['dtype']}", []).append(row)
    return {
        label: sorted(group, key=lambda row: int(row["batch"])) for label, group in groups.items()
    }
