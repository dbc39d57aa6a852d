"""Prompts from config and files: what is accepted, and that a mistake is named where it stands."""

from pathlib import Path
from typing import Any

import pytest

from megaport.config.model import Prompt
from megaport.generate.prompts import PromptError, Takes, parse_prompts, read_prompts, takeable


def test_entries_become_prompts_with_the_length_that_none_of_them_gives() -> None:
    entries: list[dict[str, Any]] = [
        {"max_length": None},
        {"prompt": "It is", "max_length": 9},
        {"token_ids": [1, 2], "do_sample": True, "seed": 3, "num_return_sequences": 2},
    ]
    assert parse_prompts(entries, "generate.prompts", 20) == [
        Prompt(max_length=20),
        Prompt(prompt="It is", max_length=9),
        Prompt(token_ids=[1, 2], max_length=20, do_sample=True, seed=3, num_return_sequences=2),
    ]


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"promt": "x"}, "promt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x", "token_ids": [1]}, "not both"),
        ({"token_ids": []}, "token_ids"),
        ({"token_ids": [-1]}, "token_ids"),
        ({"do_sample": "yes"}, "do_sample"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"temperature": 0}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_p": 1.1}, "top_p"),
        ({"max_length": 1}, "max_length"),
        ({"max_length": True}, "max_length"),
        ({"num_return_sequences": 2}, "do_sample: true"),
    ],
)
def test_a_mistake_is_refused_by_key_and_place(entry: dict[str, Any], named: str) -> None:
    with pytest.raises(PromptError, match=named) as caught:
        parse_prompts([{}, entry], "generate.prompts", 32)
    assert caught.value.thing.startswith("generate.prompts[1]")


def test_no_prompt_at_all_is_refused() -> None:
    with pytest.raises(PromptError, match="at least one"):
        parse_prompts([], "generate.prompts", 32)


def test_a_text_file_has_one_prompt_a_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("It is a truth\n\n  Emma Woodhouse \n", encoding="utf-8")
    assert [p.prompt for p in read_prompts(path, 32)] == ["It is a truth", "  Emma Woodhouse "]


def test_the_length_is_that_of_the_line_where_it_says_one(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a", "max_length": 9}\n{"token_ids": [4]}\n')
    assert [p.max_length for p in read_prompts(path, 20)] == [9, 20]


@pytest.mark.parametrize("line", ["{", "[1]", '"text"'])
def test_a_bad_json_line_is_named_by_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a"}\n' + line + "\n")
    with pytest.raises(PromptError, match=r"prompts\.jsonl:2"):
        read_prompts(path, 32)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"none\.txt"):
        read_prompts(tmp_path / "none.txt", 32)
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(PromptError, match=r"bad\.txt"):
        read_prompts(tmp_path / "bad.txt", 32)


def test_a_model_takes_what_it_can_of_prompts_for_every_model() -> None:
    def taken(prompts: list[Prompt], start: int | None) -> list[Prompt]:
        takes = Takes(vocabulary=9, positions=24, bos=start, tokenizer=None)
        return [p.model_copy(update={"max_length": None}) for p in takeable(prompts, takes)]

    text, ids, start = Prompt(prompt="a"), Prompt(token_ids=[5]), Prompt(seed=3)
    assert taken([text, ids, start], start=7) == [ids, start]
    assert taken([text, ids, start], start=None) == [ids, Prompt(token_ids=[0], seed=3)]
    assert taken([Prompt(prompt="a", top_k=2)], start=7) == [Prompt(top_k=2)]
    lengths = [Prompt(max_length=32), Prompt(max_length=4), Prompt()]
    kept = takeable(lengths, Takes(vocabulary=9, positions=24, bos=1, tokenizer=None))
    assert [prompt.max_length for prompt in kept] == [24, 4, 24]
