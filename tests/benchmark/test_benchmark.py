"""The whole benchmark of a tiny model: right tokens first, device first, nothing left unsaid."""

import json
from pathlib import Path
from typing import Any

import pytest

from megaport.benchmark import benchmark
from megaport.benchmark.agreement import REGRET, Judge, judged_texts
from megaport.benchmark.benchmark import BenchmarkError, run_benchmark
from megaport.config.model import Benchmark
from megaport.generate.device import DeviceError, Placement
from megaport.generate.engines import open_engine
from support.contenders import COMPILATION_S

QUICK = {
    "device": "cpu",
    "batch_sizes": [1, 2],
    "prompt_lengths": [1, 4],
    "new_tokens": 6,
    "repeats": 2,
}
POINTS = [("card", 1, 1), ("batch", 1, 1), ("batch", 2, 1), ("prompt", 1, 4)]
PLANTED = [
    f"support.contenders:{name}" for name in ("Wrong", "Crash", "Full", "Changing", "Unloadable")
]
WRONG, CRASH, FULL, CHANGING, UNLOADABLE = PLANTED


@pytest.fixture(scope="module")
def path(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = Benchmark(**QUICK, engines=["fast", "fats", *PLANTED])
    return run_benchmark(tiny, tmp_path_factory.mktemp("out"), options=options)


@pytest.fixture(scope="module")
def found(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


@pytest.fixture(scope="module")
def text(path: Path) -> str:
    return path.with_suffix(".txt").read_text()


def _rows(found: dict[str, Any], engine: str) -> list[dict[str, Any]]:
    return [row for row in found["rows"] if row["engine"] == engine]


def _agreement(found: dict[str, Any], engine: str) -> dict[str, Any]:
    return next(dict(a) for a in found["agreement"] if a["engine"] == engine)


def test_the_device_is_in_the_first_line(found: dict[str, Any], text: str) -> None:
    assert next(iter(found.items())) == ("device", "cpu")
    assert text.startswith("device cpu, ")
    assert found["summary"].startswith("device cpu, ")


def test_an_engine_that_agrees_has_every_point(found: dict[str, Any]) -> None:
    rows = _rows(found, "fast")
    assert [(row["workload"], row["batch"], row["prompt"]) for row in rows] == POINTS
    assert all(len(row["samples"]) == 2 for row in rows)


def test_an_engine_with_a_wrong_token_has_no_speed_and_is_named(
    found: dict[str, Any], text: str
) -> None:
    assert not _rows(found, WRONG)
    agreement = _agreement(found, WRONG)
    assert (agreement["status"], agreement["passed"]) == ("checked", False)
    assert agreement["equal_tokens"] == pytest.approx(23 / 24)
    assert f"{WRONG} float32: not measured, wrong tokens" in text


def test_a_crash_leaves_what_was_measured_and_rows_for_what_was_not(
    found: dict[str, Any], text: str
) -> None:
    rows = _rows(found, CRASH)
    assert [row["status"] for row in rows] == ["measured", "measured", "ended", "ended"]
    assert [(row["workload"], row["batch"], row["prompt"]) for row in rows] == POINTS
    assert "SIGSEGV" in rows[2]["reason"]
    assert "ended: the process ended by SIGSEGV" in text


def test_memory_that_runs_out_is_a_row_and_the_points_after_it_are_measured(
    found: dict[str, Any],
) -> None:
    statuses = [row["status"] for row in _rows(found, FULL)]
    assert statuses == ["measured", "measured", "out of memory", "measured"]


def test_what_an_engine_became_and_its_very_first_text_are_said(
    found: dict[str, Any], text: str
) -> None:
    (load,) = (load for load in found["loads"] if load["engine"] == CHANGING)
    assert load["first_text_s"] > COMPILATION_S
    assert f"{CHANGING} float32: changed for 1 rows; loaded" in text
    assert f"s, its first text took {load['first_text_s']:.1f} s" in text


def test_a_bug_of_a_contender_is_named_by_its_last_line(found: dict[str, Any]) -> None:
    agreement = _agreement(found, UNLOADABLE)
    assert agreement["status"] == "unavailable"
    assert "KeyError: 'a name'" in agreement["reason"]


def test_an_engine_that_cannot_run_here_says_why(text: str) -> None:
    assert "fats float32: not measured" in text
    assert "one of fast, eager, static" in text


def test_a_gpu_that_is_not_there_is_refused_before_anything_runs(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceError):
        run_benchmark(tiny, tmp_path, options=Benchmark(device="cuda"))
    assert not list(tmp_path.iterdir())


def test_without_a_judge_there_is_no_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "ask", lambda task, patience_s: ([], "the process ended"))
    with pytest.raises(BenchmarkError, match="the process ended"):
        run_benchmark(tmp_path, tmp_path, options=Benchmark(**QUICK, engines=["fast"]))


@pytest.fixture(scope="module")
def judge(tiny: Path) -> Judge:
    return Judge(tiny, "cpu")


def test_regret_is_nothing_for_the_best_tokens_and_more_for_any_other(judge: Judge) -> None:
    for batch, text in zip(judge.batches, judge.texts, strict=True):
        assert judge.regret(batch, text) == 0.0
        other = [*text[:-1], (text[-1] + 1) % 257]
        assert judge.regret(batch, other) > 0.0


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_fast_stays_within_its_bound(tiny: Path, judge: Judge, dtype: str) -> None:
    engine = open_engine("fast", tiny, Placement("cpu", dtype, "a test"))
    texts = list(judged_texts(engine, engine.network.shape))  # type: ignore[attr-defined]
    agreement = judge.agreement(dtype, texts)
    assert agreement["passed"], agreement["reason"]
    assert agreement["regret"] <= REGRET[dtype]
