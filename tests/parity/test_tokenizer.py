"""The tokenizer check: published ids, two ids exchanged, more ids than the model has."""

import json
import shutil
from pathlib import Path

import pytest

from megaport.parity.tokenizer import check_tokenizer, load_tokenizer
from support.subjects import (
    GPT2,
    PUBLISHED_IDS,
    TEXT,
    convert,
    random_gpt2,
    with_tokenizer,
)


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    subject = random_gpt2(layers=1, hidden=8, vocab=50257, padded=50257)
    return with_tokenizer(convert(subject, tmp_path_factory.mktemp("tokenizer")))


def test_gpt2s_tokenizer_gives_the_published_ids(tokenizer_dir: Path) -> None:
    text = TEXT.read_text(encoding="utf-8")
    verdict = check_tokenizer(load_tokenizer(tokenizer_dir), text, 50257, PUBLISHED_IDS)
    assert verdict.outcome == "passed" and len(verdict.measures) == 3


def test_published_ids_name_their_source() -> None:
    cases = json.loads(PUBLISHED_IDS.read_text(encoding="utf-8"))["texts"]
    assert len(cases) > 30 and all(case["source"] for case in cases)


def test_a_tokenizer_with_two_ids_exchanged_is_caught(tokenizer_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(tokenizer_dir, tmp_path, dirs_exist_ok=True)
    vocabulary = json.loads((GPT2 / "vocab.json").read_text(encoding="utf-8"))
    vocabulary["Hello"], vocabulary["!"] = vocabulary["!"], vocabulary["Hello"]
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    text = TEXT.read_text(encoding="utf-8")
    verdict = check_tokenizer(load_tokenizer(tmp_path), text, 50257, PUBLISHED_IDS)
    assert [measure.holds for measure in verdict.measures] == [True, True, False]
    assert "Hello" in verdict.note


def test_a_tokenizer_larger_than_the_model_is_caught(tokenizer_dir: Path) -> None:
    verdict = check_tokenizer(load_tokenizer(tokenizer_dir), "text", 50000)
    assert verdict.outcome == "failed"
    assert verdict.measures[-1].seen == 257
