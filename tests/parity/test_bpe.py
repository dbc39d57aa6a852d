"""The second BPE: known ids of GPT-2, and the same as the tokenizers library on odd text."""

import random
from pathlib import Path

import pytest
from tokenizers import ByteLevelBPETokenizer

from megaport.parity.bpe import Bpe, byte_symbols, read_bpe, words
from support.parity_models import ROOT

GPT2 = ROOT / "resources" / "gpt2"


@pytest.fixture(scope="module")
def bpe() -> Bpe:
    return read_bpe(GPT2)


@pytest.fixture(scope="module")
def library() -> ByteLevelBPETokenizer:
    return ByteLevelBPETokenizer(str(GPT2 / "vocab.json"), str(GPT2 / "merges.txt"))


def test_known_ids(bpe: Bpe) -> None:
    """The example of transformers' documentation of GPT-2, and the empty text."""
    assert bpe.encode("Hello world") == [15496, 995]
    assert bpe.encode(" Hello world") == [18435, 995]
    assert bpe.encode("") == []


def test_words_follow_gpt2s_pattern() -> None:
    assert list(words("I'll  go\n\n 3x")) == ["I", "'ll", " ", " go", "\n\n", " 3", "x"]
    assert list(words("a \t")) == ["a", " \t"]


def test_bytes_have_symbols_of_their_own() -> None:
    symbols = byte_symbols()
    assert len(set(symbols)) == 256
    assert not any(symbol.isspace() for symbol in symbols)
    assert symbols[ord("A")] == "A" and symbols[ord(" ")] == "Ġ" and symbols[ord("\n")] == "Ċ"


def test_joins_go_left_to_right_by_rank() -> None:
    letters = {symbol: rank for rank, symbol in enumerate([*"ab", "aa", "aab"])}
    tiny = Bpe(letters, {("a", "a"): 0, ("aa", "b"): 1})
    assert tiny.encode("aaab") == [letters["aa"], letters["a"], letters["b"]]
    assert tiny.encode("aab") == [letters["aab"]]


def test_odd_text_gets_the_librarys_ids(bpe: Bpe, library: ByteLevelBPETokenizer) -> None:
    rng = random.Random(0)
    alphabet = "ab 1'\n\t sdtrevml.é日\u00a0\x1c\x85٣½\U0001f600\u0301"
    for _ in range(2000):
        text = "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 12)))
        assert bpe.encode(text) == library.encode(text).ids, repr(text)


def test_every_kind_of_character_gets_the_librarys_ids(
    bpe: Bpe, library: ByteLevelBPETokenizer
) -> None:
    codes = [code for code in range(0x3000) if not 0xD800 <= code < 0xE000]
    for code in [*codes, *range(0x3000, 0xD800, 97), *range(0x10000, 0x110000, 4099)]:
        text = f"a{chr(code)}1 "
        assert bpe.encode(text) == library.encode(text).ids, hex(code)


def test_the_bundled_text_gets_the_librarys_ids(bpe: Bpe, library: ByteLevelBPETokenizer) -> None:
    text = (ROOT / "resources" / "parity" / "text.txt").read_text(encoding="utf-8")
    assert bpe.encode(text) == library.encode(text).ids


def test_merges_without_a_version_line_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "ab": 2}')
    for first in ("#version: 0.2\n", ""):
        (tmp_path / "merges.txt").write_text(first + "a b\n")
        assert read_bpe(tmp_path).encode("ab") == [2]
