"""What is said of raw samples: the median and how sure it is; percentiles."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


def interval(samples: Sequence[float], seed: int = 0) -> dict[str, float]:
    """Median with its percentile bootstrap interval (Efron 1979), in the samples' unit.

    The same samples and seed give the same interval.
    """
    values = np.asarray(samples, dtype=np.float64)
    draws = np.random.default_rng(seed).choice(values, (RESAMPLES, values.size))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.median(draws, axis=1), [tail, 100 - tail])
    return {"median": float(np.median(values)), "low": float(low), "high": float(high)}


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """p50, p90 and p99, linearly interpolated."""
    values = np.percentile(np.asarray(samples, dtype=np.float64), [50, 90, 99])
    return dict(zip(("p50", "p90", "p99"), map(float, values), strict=True))
