"""Medians, their intervals and percentiles against what they must be."""

import numpy as np
import pytest

from megaport.benchmark.statistics import interval, percentiles


def test_the_same_samples_and_seed_give_the_same_interval() -> None:
    samples = [3.0, 1.0, 2.0, 5.0, 4.0]
    assert interval(samples, 7) == interval(samples, 7)
    assert interval(samples)["median"] == 3.0


def test_the_interval_holds_the_median_and_stays_within_the_samples() -> None:
    samples = [10.0, 11.0, 12.0, 30.0]
    found = interval(samples)
    assert min(samples) <= found["low"] <= found["median"] <= found["high"] <= max(samples)


@pytest.mark.parametrize("samples", [[2.5], [2.5, 2.5, 2.5]])
def test_samples_that_agree_leave_no_doubt(samples: list[float]) -> None:
    assert interval(samples) == {"median": 2.5, "low": 2.5, "high": 2.5}


def test_the_true_median_is_inside_about_as_often_as_said() -> None:
    draw = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        found = interval(draw.normal(5.0, 1.0, 40).tolist(), seed)
        inside += found["low"] <= 5.0 <= found["high"]
    assert 0.88 <= inside / 200 <= 0.99


def test_percentiles_are_interpolated() -> None:
    found = percentiles([float(n) for n in range(101)])
    assert found == {"p50": 50.0, "p90": 90.0, "p99": 99.0}
