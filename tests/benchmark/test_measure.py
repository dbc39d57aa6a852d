"""One engine at one point: samples, what follows from them, and rows without any."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaport.benchmark.measure import (
    CARD_LENGTH,
    WARM_UPS,
    Point,
    interval,
    measure,
    percentiles,
    points,
)
from megaport.config.model import Benchmark
from megaport.generate.device import Placement
from megaport.generate.engines.base import Batch, EngineError, OutOfMemoryError
from megaport.generate.model_files import Shape, read_shape

BF16 = Placement("cpu", "bfloat16", "a test")
REPEATS = 4
POINT = Point("batch", 2, 3, 5)


class Double:
    """An engine that takes a millisecond a token, or fails as told."""

    name, note, in_stream = "double", "", False

    def __init__(self, *, marks: bool = True, error: Exception | None = None) -> None:
        self.batches: list[Batch] = []
        self.marks, self.error = marks, error

    def generate(self, batch: Batch) -> list[list[int]]:
        self.batches.append(batch)
        if self.error:
            raise self.error
        for _ in range(batch.steps):
            time.sleep(0.001)
            if self.marks and batch.mark:
                batch.mark()
        return [[*prompt, *[0] * batch.steps] for prompt in batch.prompts]


@pytest.fixture
def shape(tiny: Path) -> Shape:
    return read_shape(tiny)


def _row(shape: Shape, engine: Double) -> dict[str, Any]:
    return measure(engine, shape, BF16, POINT, REPEATS)  # type: ignore[arg-type]


def test_a_row_keeps_every_sample_and_says_what_follows(shape: Shape) -> None:
    engine = Double()
    row = _row(shape, engine)
    assert len(engine.batches) == WARM_UPS + REPEATS
    assert all(batch.steps == 5 and batch.stop is None for batch in engine.batches), "fixed length"
    assert [len(sample["token_s"]) for sample in row["samples"]] == [4] * 4
    assert row["status"] == "measured"
    assert row["first_token_s"]["median"] >= 0.001
    assert 0.001 <= row["token_s"]["p50"] <= row["token_s"]["p99"]
    rate = row["decode_tokens_per_s"]["median"]
    assert 0 < rate <= 2 * 1000
    assert row["achieved_bytes_per_s"]["median"] == pytest.approx(
        rate / 2 * POINT.bytes_per_step(shape, 2)
    )
    assert row["peak_memory_bytes"] > 2**20
    assert row["joules_per_token"] is None


def test_an_engine_that_marks_nothing_has_its_end_to_end_time(shape: Shape) -> None:
    row = _row(shape, Double(marks=False))
    assert row["decode_tokens_per_s"] is None
    assert row["end_to_end_tokens_per_s"]["median"] <= 2 * 1000


def test_out_of_memory_at_one_point_is_a_row(shape: Shape) -> None:
    error = OutOfMemoryError("64 rows", seen="full", expected="room", remedy="Use fewer.")
    row = _row(shape, Double(error=error))
    assert (row["status"], row["batch"], row["prompt"]) == ("out of memory", 2, 3)
    assert "Use fewer" in row["reason"]
    assert "samples" not in row


def test_a_point_that_an_engine_refuses_is_a_row(shape: Shape) -> None:
    error = EngineError("max_length", seen="8", expected="4", remedy="Shorten.")
    assert _row(shape, Double(error=error))["status"] == "refused"


def test_any_other_error_is_ours_and_is_raised(shape: Shape) -> None:
    with pytest.raises(ZeroDivisionError):
        _row(shape, Double(error=ZeroDivisionError()))


def test_points_are_the_card_then_batches_then_prompts() -> None:
    options = Benchmark(batch_sizes=[1, 8], prompt_lengths=[1, 64, 512], new_tokens=16)
    assert list(points(options)) == [
        Point("card", 1, 1, CARD_LENGTH - 1),
        Point("batch", 1, 1, 16),
        Point("batch", 8, 1, 16),
        Point("prompt", 1, 64, 16),
        Point("prompt", 1, 512, 16),
    ]


def test_a_step_reads_the_weights_once_and_every_rows_context(shape: Shape) -> None:
    one, four = Point("batch", 1, 10, 8), Point("batch", 4, 10, 8)
    assert one.bytes_per_step(shape, 2) == 2 * (shape.weights + 14 * shape.keys)
    assert four.bytes_per_step(shape, 2) == 2 * (shape.weights + 4 * 14 * shape.keys)


def test_the_same_samples_give_the_same_interval() -> None:
    samples = [3.0, 1.0, 2.0, 5.0, 4.0]
    assert interval(samples) == interval(samples)
    assert interval(samples)["median"] == 3.0


@pytest.mark.parametrize("samples", [[2.5], [2.5, 2.5, 2.5]])
def test_samples_that_agree_leave_no_doubt(samples: list[float]) -> None:
    assert interval(samples) == {"median": 2.5, "low": 2.5, "high": 2.5}


def test_the_true_median_is_inside_about_as_often_as_said() -> None:
    draw = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        found = interval(draw.normal(5.0, 1.0, 40).tolist())
        inside += found["low"] <= 5.0 <= found["high"]
    assert 0.88 <= inside / 200 <= 0.99


def test_percentiles_are_interpolated() -> None:
    found = percentiles([float(n) for n in range(101)])
    assert found == {"p50": 50.0, "p90": 90.0, "p99": 99.0}
