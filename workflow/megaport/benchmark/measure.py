"""One engine at one point: what is measured, raw samples and what follows from them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from megaport.benchmark.instruments import clock_for, joules, peak_bytes, reset_peak
from megaport.config.model import Benchmark
from megaport.generate.device import Placement
from megaport.generate.engines.base import Batch, Engine, EngineError, OutOfMemoryError
from megaport.generate.model_files import Outline

# The model card's own workload: one unconditional text with max_length=32.
CARD_LENGTH = 32
# The first run of a form compiles and warms up, the second records the graphs left to record.
WARM_UPS = 2
# Of prompts and of resampling: the same work, and the same samples the same interval.
SEED = 0
RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Point:
    """One thing to measure: `batch` rows of `prompt` tokens, each continued by `new_tokens`."""

    workload: str
    batch: int
    prompt: int
    new_tokens: int

    def bytes_per_step(self, shape: Outline, itemsize: int) -> int:
        """What one decode step reads at least: all weights, and the keys and values of every row at
        the middle of the run."""
        context = self.prompt + self.new_tokens // 2
        return itemsize * (shape.weights + self.batch * context * shape.keys)


def points(options: Benchmark) -> Iterator[Point]:
    """The card's workload, every batch size with the first prompt length, then every other prompt
    length with the first batch size."""
    batches, prompts, new = options.batch_sizes, options.prompt_lengths, options.new_tokens
    yield Point("card", 1, 1, CARD_LENGTH - 1)
    yield from (Point("batch", batch, prompts[0], new) for batch in batches)
    yield from (Point("prompt", batches[0], prompt, new) for prompt in prompts[1:])


def measure(
    engine: Engine, shape: Outline, placement: Placement, point: Point, repeats: int
) -> dict[str, Any]:
    """A row: the point, `status` ("measured", "out of memory", "refused") and, when measured, raw
    samples in seconds with medians, intervals, bytes and joules."""
    row = {"dtype": placement.dtype, **asdict(point)}
    try:
        measured = _measured(engine, shape, placement, point, repeats)
        return row | {"status": "measured"} | measured
    except (OutOfMemoryError, MemoryError) as error:
        return row | {"status": "out of memory", "reason": str(error) or "MemoryError"}
    except EngineError as error:
        return row | {"status": "refused", "reason": str(error)}


def prompt_ids(shape: Outline, rows: int, length: int) -> list[list[int]]:
    """Seeded random token ids [rows][length]."""
    random = np.random.default_rng(SEED)
    ids: list[list[int]] = random.integers(0, shape.vocabulary, (rows, length)).tolist()
    return ids


def _measured(
    engine: Engine, shape: Outline, placement: Placement, point: Point, repeats: int
) -> dict[str, Any]:
    device = placement.device
    prompts = prompt_ids(shape, point.batch, point.prompt)
    reset_peak(device)
    for _ in range(WARM_UPS):
        _sample(engine, device, point, prompts)
    before = joules(device)
    samples = [_sample(engine, device, point, prompts) for _ in range(repeats)]
    after = joules(device)
    used = None if before is None or after is None else after - before
    tokens = point.batch * point.new_tokens
    return {
        "samples": samples,
        "end_to_end_s": interval([s["total_s"] for s in samples]),
        "end_to_end_tokens_per_s": interval([tokens / s["total_s"] for s in samples]),
        "peak_memory_bytes": peak_bytes(device),
        "joules_per_token": None if used is None else used / (tokens * repeats),
        **_by_token(samples, point, point.bytes_per_step(shape, placement.torch_dtype.itemsize)),
    }


def _sample(
    engine: Engine, device: str, point: Point, prompts: Sequence[Sequence[int]]
) -> dict[str, Any]:
    clock = clock_for(device, engine.in_stream)
    batch = Batch(prompts, point.prompt + point.new_tokens, mark=clock.mark)
    clock.start()
    engine.generate(batch)
    total, marks = clock.read()
    steps = [later - earlier for earlier, later in pairwise(marks)]
    return {"total_s": total, "first_token_s": marks[0] if marks else None, "token_s": steps}


def _by_token(samples: list[dict[str, Any]], point: Point, size: int) -> dict[str, Any]:
    """What only engines that mark every token can tell; a step reads `size` bytes."""
    if any(len(s["token_s"]) != point.new_tokens - 1 or not s["token_s"] for s in samples):
        keys = ("first_token_s", "decode_tokens_per_s", "token_s", "achieved_bytes_per_s")
        return dict.fromkeys(keys)
    steps_per_s = [len(s["token_s"]) / sum(s["token_s"]) for s in samples]
    return {
        "first_token_s": interval([s["first_token_s"] for s in samples]),
        "decode_tokens_per_s": interval([point.batch * rate for rate in steps_per_s]),
        "token_s": percentiles([step for s in samples for step in s["token_s"]]),
        "bytes_per_step": size,
        "achieved_bytes_per_s": interval([size * rate for rate in steps_per_s]),
    }


def interval(samples: Sequence[float]) -> dict[str, float]:
    """Median with its percentile bootstrap interval (Efron 1979), in the samples' unit."""
    values = np.asarray(samples, dtype=np.float64)
    draws = np.random.default_rng(SEED).choice(values, (RESAMPLES, values.size))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.median(draws, axis=1), [tail, 100 - tail])
    return {"median": float(np.median(values)), "low": float(low), "high": float(high)}


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """p50, p90 and p99, linearly interpolated."""
    values = np.percentile(np.asarray(samples, dtype=np.float64), [50, 90, 99])
    return dict(zip(("p50", "p90", "p99"), map(float, values), strict=True))
