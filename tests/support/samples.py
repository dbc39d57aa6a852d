"""How much of a long law is tried: some always, more among the slow tests, and
MEGAPORT_SAMPLE=50 fifty times as much of that."""

import os
from collections.abc import Sequence

import pytest

TIMES = int(os.environ.get("MEGAPORT_SAMPLE", "1"))
GOLDEN = 0.6180339887498949  # its multiples, modulo 1, lie evenly whatever their number


def slow(value: object) -> object:
    """A parameter that `make test` leaves out."""
    return pytest.param(value, marks=pytest.mark.slow)


def samples(always: int, slowly: int) -> list:
    """Numbers of samples, for `parametrize`: the latter only among the slow tests."""
    return [*range(always), *map(slow, range(always, always + slowly * TIMES))]


def point(points: Sequence[int], sample: int) -> int:
    """The point that a sample stands for: the more samples, the closer they lie."""
    return points[int(len(points) * ((0.5 + sample * GOLDEN) % 1))]
