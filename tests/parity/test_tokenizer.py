"""The tokenizer check: two ids exchanged, more ids than the model has."""

import json
import shutil
from pathlib import Path

import pytest

from megaport.parity.checks.tokenizer import check_tokenizer, load_tokenizer
from support.parity_models import GPT2, TEXT, Size, convert, random_subject, with_tokenizer


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    subject = random_subject(size=Size(layers=1, hidden=8, vocab=50257, padded=50257))
    return with_tokenizer(convert(subject, tmp_path_factory.mktemp("tokenizer")))


def test_a_tokenizer_with_two_ids_exchanged_is_caught(tokenizer_dir: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    vocabulary = json.loads((GPT2 / "vocab.json").read_text(encoding="utf-8"))
    vocabulary["Ġthe"], vocabulary["Ġand"] = vocabulary["Ġand"], vocabulary["Ġthe"]
    shutil.copy(GPT2 / "merges.txt", tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    text = TEXT.read_text(encoding="utf-8")
    result = check_tokenizer(tmp_path, tokenizer, text, 50257)
    assert [measure.holds for measure in result.measures] == [True, True, False, True]


def test_a_tokenizer_larger_than_the_model_is_caught(tokenizer_dir: Path) -> None:
    result = check_tokenizer(tokenizer_dir, load_tokenizer(tokenizer_dir), "text", 50000)
    assert result.verdict == "failed"
    assert result.measures[-1].seen == 257
