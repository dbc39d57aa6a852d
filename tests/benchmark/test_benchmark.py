"""The whole benchmark of a tiny model: right tokens first, device first, nothing left unsaid."""

import json
from pathlib import Path
from typing import Any

import pytest

from megaport.benchmark import benchmark, correctness
from megaport.benchmark.benchmark import run_benchmark
from megaport.benchmark.correctness import REGRET, Reference, check
from megaport.benchmark.options import BenchmarkOptions
from megaport.benchmark.registry import open_any
from megaport.generate.device import DeviceError, Placement
from megaport.generate.engines.base import Engine, Job
from megaport.generate.engines.fast import FastEngine

QUICK = BenchmarkOptions(
    device="cpu", batch_sizes=(1, 2), prompt_lengths=(1, 4), new_tokens=6, repeats=2
)


class Wrong(FastEngine):
    """Right in every way but the last token."""

    name = "wrong"

    def generate(self, job: Job) -> list[list[int]]:
        return [[*row[:-1], (row[-1] + 1) % 257] for row in super().generate(job)]


@pytest.fixture(scope="module")
def result(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    def with_wrong(name: str, model_dir: Path, placement: Placement) -> Engine:
        return (Wrong.load if name == "wrong" else lambda *a: open_any(name, *a))(
            model_dir, placement
        )

    options = BenchmarkOptions(
        **{**QUICK.__dict__, "engines": ("eager", "fast", "wrong", "vllm"), "dtypes": ("bfloat16",)}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correctness, "open_any", with_wrong)
        patch.setattr(benchmark, "open_any", with_wrong)
        patch.setattr(benchmark, "copy_bandwidth", lambda device: [1e10, 1.1e10])
        path = run_benchmark(tiny, tmp_path_factory.mktemp("out"), options=options)
    return path, json.loads(path.read_text())


def test_the_device_is_in_the_first_line_and_the_file_name(
    result: tuple[Path, dict[str, Any]],
) -> None:
    path, found = result
    assert path.name.startswith("cpu-")
    assert next(iter(found.items())) == ("device", "cpu")
    assert path.with_suffix(".txt").read_text().startswith("device cpu, ")
    assert found["summary"].startswith("device cpu, ")


def test_every_engine_that_passed_has_every_point(result: tuple[Path, dict[str, Any]]) -> None:
    _, found = result
    rows = [(row["engine"], row["workload"], row["batch"], row["prompt"]) for row in found["rows"]]
    for engine in ("eager", "fast"):
        expected = [("card", 1, 1), ("batch", 1, 1), ("batch", 2, 1), ("prompt", 1, 4)]
        assert [row[1:] for row in rows if row[0] == engine] == expected
    assert all(len(row["samples"]) == 2 for row in found["rows"])
    assert [load["engine"] for load in found["loads"]] == ["eager", "fast"]


def test_an_engine_with_a_wrong_token_has_no_speed_and_is_named(
    result: tuple[Path, dict[str, Any]],
) -> None:
    path, found = result
    assert not [row for row in found["rows"] if row["engine"] == "wrong"]
    verdict = next(v for v in found["correctness"] if v["engine"] == "wrong")
    assert (verdict["status"], verdict["passed"]) == ("checked", False)
    assert "wrong bfloat16: not measured, wrong tokens" in path.with_suffix(".txt").read_text()


def test_an_engine_that_cannot_run_here_says_why(result: tuple[Path, dict[str, Any]]) -> None:
    path, found = result
    verdict = next(v for v in found["correctness"] if v["engine"] == "vllm")
    assert verdict["status"] == "unavailable"
    assert "CUDA" in verdict["reason"]
    assert "vllm float32: not measured" in path.with_suffix(".txt").read_text()


def test_a_gpu_that_is_not_there_is_refused_before_anything_runs(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceError):
        run_benchmark(tiny, tmp_path, options=BenchmarkOptions(device="cuda"))
    assert not list(tmp_path.iterdir())


def test_with_no_right_engine_the_summary_says_so(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correctness, "open_any", lambda name, *rest: Wrong.load(*rest))
    monkeypatch.setattr(benchmark, "copy_bandwidth", lambda device: [1e10])
    options = BenchmarkOptions(**{**QUICK.__dict__, "engines": ("fast",), "dtypes": ("float32",)})
    found = json.loads(run_benchmark(tiny, tmp_path, options=options).read_text())
    assert found["rows"] == []
    assert "no engine gave the right tokens" in found["summary"]


@pytest.fixture(scope="module")
def reference(tiny: Path) -> Reference:
    return Reference(tiny, "cpu", seed=0)


def test_regret_is_nothing_for_the_best_tokens_and_more_for_any_other(
    reference: Reference,
) -> None:
    for job, text in zip(reference.jobs, reference.texts, strict=True):
        assert reference.regret(job, text) == 0.0
        other = [*text[:-1], (text[-1] + 1) % 257]
        assert reference.regret(job, other) > 0.0


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_fast_stays_within_its_bound(tiny: Path, reference: Reference, dtype: str) -> None:
    verdict = check("fast", tiny, dtype, reference)
    assert verdict.passed, verdict.reason
    assert verdict.regret <= REGRET[dtype]


def test_float32_must_be_equal_and_not_only_close(
    tiny: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correctness, "open_any", lambda name, *rest: Wrong.load(*rest))
    verdict = check("wrong", tiny, "float32", reference)
    assert not verdict.passed
    assert verdict.equal_tokens == pytest.approx(23 / 24)
