"""What a command costs: wall and CPU seconds and memory, measured in turns with its peers."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.checkout import ENVIRONMENT


@dataclass(frozen=True)
class Cost:
    """Seconds of wall and CPU time, and peak resident bytes of the largest process."""

    wall: float
    cpu: float
    rss: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.rss, other.rss))

    def __sub__(self, other: "Cost") -> "Cost":
        return self + -1 * other

    def __rmul__(self, factor: float) -> "Cost":
        return Cost(factor * self.wall, factor * self.cpu, self.rss)

    def __str__(self) -> str:
        return f"{self.wall:.2f} | {self.cpu:.2f}"


@dataclass(frozen=True)
class Contender:
    """A command, where it runs, and what makes it ready for each run."""

    name: str
    command: list[str]
    folder: Path
    before: Callable[[], None] = lambda: None


def measure(command: list[str], folder: Path) -> Cost:
    """CPU time is that of the process and of its children. Ends the benchmark where it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    text = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit(f"{command} failed:\n{text.decode()}")
    wall = time.perf_counter() - started
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


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
