"""What a run says at its end: where the models lie and how to load one, and whether they hold."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

LOAD = """  from transformers import AutoModelForCausalLM, AutoTokenizer
  model = AutoModelForCausalLM.from_pretrained("{folder}")
  tokenizer = AutoTokenizer.from_pretrained("{folder}")"""
LOAD_BARE = """  from transformers import AutoModelForCausalLM
  model = AutoModelForCausalLM.from_pretrained("{folder}")"""


def summary(folders: Iterable[Path], page: Path) -> list[str]:
    """Lines on the models whose results are in `folders`, and on the report where there is one."""
    told = [line for folder in folders for line in _model(folder)]
    models = [line for line in told if line.startswith("model: ")]
    if len(models) == 1:
        told[1:1] = _how_to_load(Path(models[0].removeprefix("model: ")))
    return told + ([f"report: {page}"] if page.is_file() else [])


def _model(folder: Path) -> Iterator[str]:
    if (folder / "assemble.json").is_file():
        yield f"model: {folder / 'model'}"
    verdicts = folder / "parity" / "parity.json"
    if (folder / "parity.json").is_file() and verdicts.is_file():
        yield f"parity: {_counts(json.loads(verdicts.read_bytes()))}"


def _counts(parity: dict[str, Any]) -> str:
    outcomes = [check["verdict"] for check in parity["checks"]]
    return f"{outcomes.count('passed')} passed, {outcomes.count('failed')} failed"


def _how_to_load(folder: Path) -> list[str]:
    text = LOAD if (folder / "tokenizer_config.json").exists() else LOAD_BARE
    return text.format(folder=folder).splitlines()
