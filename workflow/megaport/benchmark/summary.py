"""A benchmark in one sentence, and as a table for people; both say the device first."""

from typing import Any

COLUMNS = (
    f"{'engine':<12}{'dtype':<10}{'work':<7}{'batch':>5}{'prompt':>7}{'tokens/s':>10}"
    f"{'95% interval':>18}{'first ms':>10}{'p50 ms':>9}{'p90':>8}{'p99':>8}{'GB/s':>8}"
    f"{'% copy':>8}{'MiB':>8}{'J/token':>9}"
)


def summarize(result: dict[str, Any]) -> str:
    """Device and machine, then the fastest engine at batch 1 and what it leaves unused."""
    where = f"device {result['device']}, {_machine(result)}"
    best = result["fastest"]
    if best is None:
        return f"{where}: no engine gave the right tokens and its times."
    share = best["achieved_bytes_per_s"]["median"] / result["copy_bytes_per_s"]["median"]
    return (
        f"{where}: {best['engine']} in {best['dtype']} is fastest at batch 1, {speed(best):.1f} "
        f"tokens/s, first token after {best['first_token_s']['median'] * 1e3:.1f} ms, reading "
        f"memory at {share:.0%} of copy bandwidth."
    )


def fastest(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The row with most tokens a second at batch 1."""
    return max((row for row in decoded(rows) if row["batch"] == 1), key=speed, default=None)


def decoded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that have a decode speed."""
    return [r for r in rows if r["status"] == "measured" and r["decode_tokens_per_s"]]


def speed(row: dict[str, Any]) -> float:
    """Tokens a second, all rows of the batch together."""
    return float(row["decode_tokens_per_s"]["median"])


def table(result: dict[str, Any]) -> str:
    """The summary, why this device and dtype, every row, and every engine that has none."""
    reasons = [f"{p['dtype']}: {p['reason']}" for p in result["placements"]]
    copy = result["copy_bytes_per_s"]
    head = [
        result["summary"],
        *reasons,
        f"copy bandwidth {copy['median'] / 1e9:.1f} GB/s, "
        f"load average {result['environment']['load_average'][0]:.1f}",
        "",
        COLUMNS,
    ]
    rows = [_line(row, copy["median"]) for row in result["rows"]]
    # The first text comes with all that an engine compiles for it.
    loads = [
        f"{load['engine']} {load['dtype']}: {load['note']}; loaded in {load['load_s']:.1f} s, "
        f"its first text took {load['first_text_s']:.1f} s"
        for load in result["loads"]
    ]
    agreed = [f"{a['engine']} {a['dtype']}: {_agreed(a)}" for a in result["agreement"]]
    return "\n".join([*head, *rows, "", *loads, "", *agreed, ""])


def _agreed(agreement: dict[str, Any]) -> str:
    if agreement["status"] != "checked":
        return f"not measured, {agreement['reason']}"
    return f"{'' if agreement['passed'] else 'not measured, wrong tokens: '}{agreement['reason']}"


def _line(row: dict[str, Any], copy: float) -> str:
    start = f"{row['engine']:<11} {row['dtype']:<10}{row['workload']:<7}"
    start += f"{row['batch']:>5}{row['prompt']:>7}"
    if row["status"] != "measured":
        return f"{start}  {row['status']}: {row['reason']}"
    if row["decode_tokens_per_s"] is None:
        rate = row["end_to_end_tokens_per_s"]
        return start + _rate(rate) + "  end to end only"
    token, read = row["token_s"], row["achieved_bytes_per_s"]["median"]
    joules = row["joules_per_token"]
    return (
        start
        + _rate(row["decode_tokens_per_s"])
        + f"{row['first_token_s']['median'] * 1e3:>10.2f}"
        + f"{token['p50'] * 1e3:>9.2f}{token['p90'] * 1e3:>8.2f}{token['p99'] * 1e3:>8.2f}"
        + f"{read / 1e9:>8.1f}{read / copy:>8.1%}{(row['peak_memory_bytes'] or 0) >> 20:>8}"
        + (f"{joules:>9.4f}" if joules else f"{'-':>9}")
    )


def _rate(rate: dict[str, float]) -> str:
    span = f"{rate['low']:.1f}-{rate['high']:.1f}"
    return f"{rate['median']:>10.1f}{span:>18}"


def _machine(result: dict[str, Any]) -> str:
    gpu = result["environment"]["gpu"]
    machine: str = result["environment"]["machine"]
    return f"{gpu['name']} ({machine})" if gpu else machine
