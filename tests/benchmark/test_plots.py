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


def test_pictures_are_the_same_bytes_and_hold_no_date(tmp_path: Path) -> None:
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        paths = draw_plots(RESULT, folder)
        contents.append({path.name: path.read_bytes() for path in paths})
    assert contents[0] == contents[1]
    assert sorted(contents[0]) == ["engines.svg", "latency.svg", "throughput.svg"]
    assert not any(b"<dc:date>" in content for content in contents[0].values())


def test_without_a_measured_row_there_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no engine that could be measured"):
        draw_plots({**RESULT, "rows": RESULT["rows"][-1:]}, tmp_path)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_each_picture_says_where_it_was_measured(
    tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from megaport.benchmark import plots

    monkeypatch.setitem(plots.STYLE, "svg.fonttype", "none")
    for path in draw_plots({**RESULT, "device": device}, tmp_path):
        assert f"{device}: A CPU; 2 cores" in path.read_text()
