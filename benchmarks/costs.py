"""What a command costs: wall and CPU seconds and memory, measured in turns with its peers."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

from support.checkout import ENVIRONMENT  # noqa: E402

SAMPLE_SECONDS = 0.005


@dataclass(frozen=True)
class Cost:
    """Seconds of wall and CPU time; bytes at the peak: resident, of the largest process, and
    anonymous, of the first process alone."""

    wall: float
    cpu: float
    rss: int
    anonymous: int

    def __add__(self, other: "Cost") -> "Cost":
        rss, anonymous = max(self.rss, other.rss), max(self.anonymous, other.anonymous)
        return Cost(self.wall + other.wall, self.cpu + other.cpu, rss, anonymous)

    def __sub__(self, other: "Cost") -> "Cost":
        return self + -1 * other

    def __rmul__(self, factor: float) -> "Cost":
        return Cost(factor * self.wall, factor * self.cpu, self.rss, self.anonymous)

    def __str__(self) -> str:
        return f"{self.wall:.2f} | {self.cpu:.2f}"


@dataclass(frozen=True)
class Contender:
    """A command, where it runs, and what makes it ready for each run."""

    name: str
    command: list[str]
    folder: Path
    before: Callable[[], None] = lambda: None


def measure(
    command: Sequence[str | Path],
    folder: Path | None = None,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> Cost:
    return run(command, folder, environment)[0]


def run(
    command: Sequence[str | Path],
    folder: Path | None = None,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> tuple[Cost, str]:
    """What it cost, its children's CPU time too, and its standard output; anonymous memory is
    sampled. Ends the benchmark where it fails."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=errors
        )
        anonymous, ended = 0, 0
        while not ended:
            time.sleep(SAMPLE_SECONDS)
            anonymous = max(anonymous, _anonymous(process.pid))
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        wall, process.returncode = time.perf_counter() - began, status
        output.seek(0)
        said = output.read()
        if status:
            errors.seek(0)
            raise SystemExit(f"{command} failed:\n{said}{errors.read()}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(wall, cpu, usage.ru_maxrss * 1024, anonymous), said


def _anonymous(pid: int) -> int:
    """RssAnon in bytes (proc_pid_status(5)); 0 of a process that has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


Rounds = list[list[Cost]]  # of each contender, one cost a round


def race(contenders: list[Contender], repeats: int) -> Rounds:
    """All of them in turns, so that a busy minute falls on all."""
    found: Rounds = [[] for _ in contenders]
    for _ in range(repeats):
        for contender, costs in zip(contenders, found, strict=True):
            contender.before()
            costs.append(measure(contender.command, contender.folder))
    return found


def least(costs: list[Cost]) -> Cost:
    return Cost(
        min(cost.wall for cost in costs),
        min(cost.cpu for cost in costs),
        max(cost.rss for cost in costs),
        max(cost.anonymous for cost in costs),
    )


def table(contenders: list[Contender], found: Rounds) -> None:
    """The least of each, a row each."""
    print("| | wall s | CPU s |\n|---|---|---|")
    for contender, costs in zip(contenders, found, strict=True):
        print(f"| {contender.name} | {least(costs)} |", flush=True)


def verdict(what: str, seen: list[Cost], allowed: list[Cost]) -> None:
    """A row: the share of what is allowed, round by round, as a machine changes its speed."""
    shares = sorted(one.wall / other.wall for one, other in zip(seen, allowed, strict=True))
    middle = statistics.median(shares)
    held = "held" if middle <= 1 else "**not held**"
    print(f"| {what} | {middle:.2f} | {shares[0]:.2f} to {shares[-1]:.2f} | {held} |")
