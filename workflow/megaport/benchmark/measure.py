"""One engine at one point: raw samples and what follows from them."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from megaport.benchmark.instruments import clock_for, joules, peak_bytes, reset_peak
from megaport.benchmark.options import BenchmarkOptions, Point
from megaport.benchmark.statistics import interval, percentiles
from megaport.generate.device import Placement
from megaport.generate.engines.base import Batch, Engine, EngineError, OutOfMemoryError
from megaport.generate.model_files import Outline

# The first run of a form compiles and warms up, the second records the graphs left to record.
WARM_UPS = 2


def measure(
    engine: Engine, shape: Outline, placement: Placement, point: Point, options: BenchmarkOptions
) -> dict[str, Any]:
    """A row: the point, `status` ("measured", "out of memory", "refused") and, when measured, raw
    samples in seconds with medians, intervals, bytes and joules."""
    row = {"dtype": placement.dtype, **asdict(point)}
    try:
        measured = _measured(engine, shape, placement, point, options)
        return row | {"status": "measured"} | measured
    except (OutOfMemoryError, MemoryError) as error:
        return row | {"status": "out of memory", "reason": str(error) or "MemoryError"}
    except EngineError as error:
        return row | {"status": "refused", "reason": str(error)}


def prompt_ids(shape: Outline, rows: int, length: int, seed: int) -> list[list[int]]:
    """Seeded random token ids [rows][length]."""
    ids: list[list[int]] = (
        np.random.default_rng(seed).integers(0, shape.vocabulary, (rows, length)).tolist()
    )
    return ids


def _measured(
    engine: Engine, shape: Outline, placement: Placement, point: Point, options: BenchmarkOptions
) -> dict[str, Any]:
    device = placement.device
    prompts = prompt_ids(shape, point.batch, point.prompt, options.seed)
    reset_peak(device)
    warm = [_sample(engine, device, point, prompts) for _ in range(WARM_UPS)]
    before = joules(device)
    samples = [_sample(engine, device, point, prompts) for _ in range(options.repeats)]
    after = joules(device)
    used = None if before is None or after is None else after - before
    tokens = point.batch * point.new_tokens
    return {
        "first_run_s": warm[0]["total_s"],
        "samples": samples,
        "end_to_end_s": interval([s["total_s"] for s in samples], options.seed),
        "end_to_end_tokens_per_s": interval([tokens / s["total_s"] for s in samples], options.seed),
        "peak_memory_bytes": peak_bytes(device),
        "joules_per_token": None if used is None else used / (tokens * options.repeats),
        **_by_token(samples, point, shape, placement, options.seed),
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


def _by_token(
    samples: list[dict[str, Any]], point: Point, shape: Outline, placement: Placement, seed: int
) -> dict[str, Any]:
    """What only engines that mark every token can tell."""
    if any(len(s["token_s"]) != point.new_tokens - 1 or not s["token_s"] for s in samples):
        keys = ("first_token_s", "decode_tokens_per_s", "token_s", "achieved_bytes_per_s")
        return dict.fromkeys(keys)
    steps_per_s = [len(s["token_s"]) / sum(s["token_s"]) for s in samples]
    size = point.bytes_per_step(shape, placement.torch_dtype.itemsize)
    return {
        "first_token_s": interval([s["first_token_s"] for s in samples], seed),
        "decode_tokens_per_s": interval([point.batch * rate for rate in steps_per_s], seed),
        "token_s": percentiles([step for s in samples for step in s["token_s"]]),
        "bytes_per_step": size,
        "achieved_bytes_per_s": interval([size * rate for rate in steps_per_s], seed),
    }
