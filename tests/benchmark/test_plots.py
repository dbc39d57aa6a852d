"""The pictures: the same bytes every time, and nothing drawn of what was not measured."""

from pathlib import Path
from typing import Any

import pytest

from megaport.benchmark.benchmark import BenchmarkError
from megaport.benchmark.plots import draw_plots


def _row(engine: str, workload: str, batch: int, rate: float) -> dict[str, Any]:
    span = {"median": rate, "low": rate * 0.9, "high": rate * 1.1}
    return {
        "engine": engine,
        "dtype": "bfloat16",
        "workload": workload,
        "batch": batch,
        "prompt": 1,
        "status": "measured",
        "bytes_per_step": 10**8,
        "decode_tokens_per_s": span,
        "end_to_end_s": {"median": 1 / rate, "low": 0.9 / rate, "high": 1.1 / rate},
        "samples": [{"token_s": [0.01, 0.02, 0.015]}],
    }


RESULT: dict[str, Any] = {
    "device": "cpu",
    "environment": {"machine": "A CPU; 2 cores"},
    "copy_bytes_per_s": {"median": 1e10},
    "rows": [
        _row(engine, workload, batch, rate * batch)
        for engine, rate in (("eager", 20.0), ("fast", 50.0))
        for workload, batch in (("card", 1), ("batch", 1), ("batch", 8))
    ]
    + [{"engine": "fast", "workload": "batch", "batch": 64, "status": "out of memory"}],
}


def test_pictures_are_the_same_bytes_say_where_and_what_they_show(tmp_path: Path) -> None:
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        draw_plots(RESULT, folder)
        contents.append({path.name: path.read_text() for path in folder.iterdir()})
    assert contents[0] == contents[1]
    throughput, engines = contents[0]["throughput.svg"], contents[0]["engines.svg"]
    assert "fast in bfloat16 gives most: 400 tokens/s at batch 8, 50% of memory" in throughput
    assert "limit, bfloat16" in throughput and "shorter is faster" in engines
    assert "fast bfloat16 writes the model card" in engines and "2.5 times as fast as" in engines
    assert all("cpu: A CPU; 2 cores" in text for text in (throughput, engines))


def test_without_a_measured_row_there_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no engine that could be measured"):
        draw_plots({**RESULT, "rows": RESULT["rows"][-1:]}, tmp_path)
