"""Tokenizers of one's own: what is taken, what is made, what is refused."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from megaport.convert.tokenizer import (
    AUTO,
    TokenizerError,
    TokenizerFiles,
    chosen_tokenizer,
    files_in,
    open_tokenizer,
    write_tokenizer,
)
from support.subjects import SENTENCE, trained


def written(folder: Path, out: Path) -> dict[str, int]:
    out.mkdir()
    return write_tokenizer(files_in(folder), out, rows=320, positions=48)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def test_vocab_and_merges_are_made_into_a_tokenizer(folder: Path, tmp_path: Path) -> None:
    own = trained("<|endoftext|>")
    own.model.save(str(folder))
    ids = written(folder, tmp_path / "out")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert loaded(SENTENCE)["input_ids"] == own.encode(SENTENCE).ids
    assert loaded.decode(own.encode(SENTENCE).ids) == SENTENCE
    assert loaded.model_max_length == 48
    assert set(ids.values()) == {own.token_to_id("<|endoftext|>")} and len(ids) == 3


def test_a_folders_files_stay_as_they_are(folder: Path, tmp_path: Path) -> None:
    trained("</s>").save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": {"content": "</s>", "__type": "AddedToken"},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}</s>")
    (folder / "weights.bin").write_bytes(b"not of the tokenizer")
    ids = written(folder, tmp_path / "out")
    assert ids == {"eos_token_id": 0, "pad_token_id": 0}
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    chat = loaded.apply_chat_template([{"role": "user", "content": "It is"}], tokenize=False)
    assert chat == "It is</s>"


def test_a_tokenizer_without_settings_gets_the_least_there_are(
    folder: Path, tmp_path: Path
) -> None:
    own = trained("<start>")
    own.save(str(folder / "tokenizer.json"))
    assert written(folder, tmp_path / "out") == {}
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert loaded(SENTENCE)["input_ids"] == own.encode(SENTENCE).ids


@pytest.mark.parametrize(
    ("files", "seen"),
    [
        ({}, "no vocab.json and no merges.txt"),
        ({"vocab.json": "{}"}, "no merges.txt"),
        ({"tokenizer.model": "sentencepiece"}, "make tokenizer.json of it"),
        ({"tokenizer.json": "{"}, "EOF while parsing"),
        ({"vocab.json": "[1]", "merges.txt": ""}, "expected"),
    ],
)
def test_hazard_a_folder_that_is_no_tokenizer(
    folder: Path, files: dict[str, str], seen: str
) -> None:
    for name, content in files.items():
        (folder / name).write_text(content)
    with pytest.raises(TokenizerError, match=seen) as refused:
        open_tokenizer(folder)
    assert str(folder) in str(refused.value)


def test_hazard_settings_that_are_no_settings(folder: Path, tmp_path: Path) -> None:
    trained("</s>").save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text("[]")
    with pytest.raises(TokenizerError, match=r"tokenizer_config.json"):
        written(folder, tmp_path / "out")


def test_hazard_a_file_that_changed_while_the_workflow_ran(folder: Path, tmp_path: Path) -> None:
    trained("</s>").save(str(folder / "tokenizer.json"))
    before = files_in(folder)
    trained("<end>").save(str(folder / "tokenizer.json"))
    (tmp_path / "out").mkdir()
    with pytest.raises(TokenizerError, match=before.digests["tokenizer.json"]):
        write_tokenizer(before, tmp_path / "out", rows=320, positions=48)


def test_auto_is_the_checkpoints_own_or_gpt2s_where_the_vocabulary_is(tmp_path: Path) -> None:
    for rows, padded, gpt2 in ((50257, 50304, True), (50304, 50304, True), (250, 256, False)):
        sizes = {"vocab_size": rows, "padded_vocab_size": padded}
        chosen = chosen_tokenizer(AUTO, Path, AUTO, sizes, tmp_path)
        assert (chosen is not None and chosen.published) is gpt2
        assert chosen_tokenizer(None, Path, "null", sizes, tmp_path) is None
        own = chosen_tokenizer({"vocab.json": "0"}, Path, "/own", sizes, tmp_path)
        assert own == TokenizerFiles(Path("/own"), {"vocab.json": "0"})
    trained("<|endoftext|>").model.save(str(tmp_path))
    brought = chosen_tokenizer(AUTO, Path, AUTO, sizes, tmp_path)
    assert brought == files_in(tmp_path) and sorted(brought.digests) == ["merges.txt", "vocab.json"]
    assert chosen_tokenizer("gpt2", Path, "gpt2", sizes, tmp_path).published
