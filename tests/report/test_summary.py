"""The last lines of a run."""

import json
from pathlib import Path

from megaport.report.summary import summary


def made(folder: Path, *, parity: list[str] | None = None, tokenizer: bool = True) -> Path:
    (folder / "model").mkdir(parents=True)
    (folder / "assemble.json").touch()
    if tokenizer:
        (folder / "model" / "tokenizer_config.json").touch()
    if parity is not None:
        (folder / "parity").mkdir()
        (folder / "parity.json").touch()
        checks = [{"verdict": verdict} for verdict in parity]
        (folder / "parity" / "parity.json").write_text(json.dumps({"checks": checks}))
    return folder


def test_one_model_comes_with_the_lines_that_load_it(tmp_path):
    folder = made(tmp_path / "a", parity=["passed", "passed", "not applicable"])
    (tmp_path / "report.html").touch()
    first, *lines, parity, page = summary([folder], tmp_path / "report.html")
    assert first == f"model: {folder / 'model'}"
    assert len(lines) == 3 and f'from_pretrained("{folder / "model"}")' in lines[1]
    compile("\n".join(line.strip() for line in lines), "lines", "exec")
    assert (parity, page) == ("parity: 2 passed, 0 failed", f"report: {tmp_path / 'report.html'}")


def test_several_models_are_named_and_no_more(tmp_path):
    folders = [made(tmp_path / name) for name in ("a", "b")]
    assert summary(folders, tmp_path / "none.html") == [
        f"model: {folder / 'model'}" for folder in folders
    ]


def test_without_a_tokenizer_none_is_loaded(tmp_path):
    assert "Tokenizer" not in "".join(summary([made(tmp_path / "a", tokenizer=False)], tmp_path))


def test_what_is_not_made_is_not_told(tmp_path):
    assert summary([tmp_path / "a"], tmp_path / "none.html") == []
