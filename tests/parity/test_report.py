"""What parity leaves behind: the same bytes each time, a report also when it fails."""

import json
from pathlib import Path

import pytest
import torch

from megaport.generate.engines.base import OutOfMemoryError
from megaport.parity.parity import ParityError, run_parity
from megaport.parity.reference import Reference
from support.parity_mistakes import swap
from support.subjects import OPTIONS, convert, random_gpt2

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nand a table")
FILES = {"parity.json", "parity.txt", "layers.svg", "positions.svg"}


def run(subject: Reference, model: Path, out: Path) -> dict[str, bytes]:
    run_parity(subject.checkpoint, subject.architecture, model, out, options=OPTIONS)
    return contents(out)


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a right model's run leaves."""
    subject, folder = random_gpt2(), tmp_path_factory.mktemp("right")
    return run(subject, convert(subject, folder / "model"), folder / "out")


def test_the_same_run_writes_the_same_bytes_anywhere(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = random_gpt2()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    assert run(subject, convert(subject, tmp_path / "käse 2"), tmp_path / "two") == files
    assert files.keys() == FILES


def test_the_report_has_every_number_with_its_reason(files: dict[str, bytes]) -> None:
    report = json.loads(files["parity.json"])
    assert report["verdict"] == "passed" and report["cause"] is None
    assert all(check["reason"] and check["question"] for check in report["checks"])
    names = [block["name"] for block in report["blocks"]]
    assert names == ["embedding", "layer 0", "layer 1", "layer 2", "final norm", "head"]
    text = files["parity.txt"].decode()
    assert "the converted model is the checkpoint's model" in text
    for check in report["checks"]:
        assert f" {check['name']}: " in text
        assert all(f"{m['quantity']}: {m['seen']}" in text for m in check["measures"])


def test_a_run_says_where_it_is_and_draws_no_bars_where_nobody_watches(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    subject = random_gpt2()
    with caplog.at_level("INFO", logger="megaport"):
        run(subject, convert(subject, tmp_path / "model"), tmp_path / "out")
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "parity: comparing configuration and bytes"
    assert said[-1] == "parity: 6 passed, 0 failed, 4 not applicable"
    assert "it/s" not in "".join(capfd.readouterr())


def test_a_failed_run_keeps_its_report_and_names_layer_and_cause(tmp_path: Path) -> None:
    subject = random_gpt2()
    swap("h.1.", "h.2.")(subject, tmp_path / "model")
    out = tmp_path / "out"
    with pytest.raises(ParityError, match="first differs at layer 1") as caught:
        run(subject, tmp_path / "model", out)
    assert contents(out).keys() == FILES
    report = json.loads((out / "parity.json").read_text())
    assert report["verdict"] == "failed"
    assert report["cause"] in str(caught.value)
    assert (report["first_difference"], report["mistake"]) == ("layer 1", "layers swapped")
    text = (out / "parity.txt").read_text()
    assert "<-- FAIL" in text and "layers swapped" in text
    assert "<title>The first to differ is layer 1" in (out / "layers.svg").read_text()


def test_a_model_that_cannot_be_run_still_gets_a_report(tmp_path: Path) -> None:
    subject = random_gpt2()
    more = subject.with_architecture(vocab_size=102)
    with pytest.raises(ParityError, match="vocabulary off by one"):
        run(subject, convert(more, tmp_path / "model"), tmp_path / "out")
    assert contents(tmp_path / "out").keys() == {"parity.json", "parity.txt"}


def test_plots_say_what_is_seen_and_take_the_pages_colours(files: dict[str, bytes]) -> None:
    for name, said in (("layers", "Every layer agrees"), ("positions", "Logits agree at every")):
        svg = files[f"{name}.svg"].decode()
        assert svg.startswith('<svg role="img"') and f"<title>{said}" in svg
        assert "currentColor" in svg and ">limit<" in svg and ">1/100<" in svg
        assert "#ffffff" not in svg and "#000000" not in svg


@pytest.mark.parametrize("at", ["parity.load_converted", "converted.Converted.logits"])
def test_cuda_out_of_memory_in_parity_names_the_key_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise FULL

    subject = random_gpt2()
    model = convert(subject, tmp_path / "model")
    monkeypatch.setattr(f"megaport.parity.{at}", full)
    with pytest.raises(OutOfMemoryError, match=r"Tried to allocate 9 GiB\).*parity\.device: cpu"):
        run(subject, model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
