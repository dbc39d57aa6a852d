"""What a job asks a cluster for: memory and time by size, a card where one is used.

The sizes are in the receipts of the steps before, so they are known when a job is submitted.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000


@dataclass(frozen=True)
class Need:
    """A straight line over megabytes of content: `memory_mb` and `seconds` at zero, and per MB."""

    memory_mb: float
    memory_per_mb: float
    seconds: float
    seconds_per_mb: float


# Two to three times the peaks and times seen (scaling.md): a job that is killed for a megabyte
# or a minute costs more than room that stays empty.
MOVES_BYTES = Need(1000, 1.5, 120, 0.1)
RUNS_TORCH = Need(2500, 6, 600, 2)
NEEDS = {"generate": RUNS_TORCH, "benchmark": RUNS_TORCH, "parity": Need(2500, 12, 600, 6)}


def memory_mb(rule: str, receipts: Iterable[str], attempt: int) -> int:
    """Megabytes for a job of `rule`; every further attempt asks for as much again.

    Raises FileNotFoundError for a receipt that is not there yet: Snakemake then asks again later.
    """
    need = NEEDS.get(rule, MOVES_BYTES)
    return attempt * round(need.memory_mb + need.memory_per_mb * content_mb(receipts))


def runtime_minutes(rule: str, receipts: Iterable[str], attempt: int) -> int:
    """Minutes for a job of `rule`, rounded up; raises as memory_mb."""
    need = NEEDS.get(rule, MOVES_BYTES)
    seconds = need.seconds + need.seconds_per_mb * content_mb(receipts)
    return attempt * (int(seconds // 60) + 1)


def gpus(device: str, present: bool) -> int:
    """Cards to ask for: under `auto` only where the submitting machine has one itself."""
    return int(device == "cuda" or (device == "auto" and present))


def content_mb(receipts: Iterable[str]) -> float:
    """Megabytes of what the largest of the steps behind `receipts` made or found."""
    return max(map(_bytes, receipts)) / MB


def _bytes(receipt: str) -> int:
    with Path(receipt).open(encoding="utf-8") as file:
        told = json.load(file)
    facts = told["facts"]
    contents = told["outputs"] or facts.get("members") or facts.get("files") or {}
    return sum(content["size"] for content in contents.values())
