"""GPT-2's byte-level BPE, a second time, from its description (Radford et al. 2019, section 2.2).

Text is cut into words (by the pattern OpenAI published with GPT-2, here a small scanner over
Unicode categories), each word's UTF-8 bytes are written as printable characters, and the pair with
the best rank in merges.txt is joined until none is left. No code of a tokenizer library is used.
"""

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
# Unicode's White_Space property (PropList.txt); str.isspace() has four control characters more.
SPACES = frozenset(
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    + "".join(map(chr, range(0x2000, 0x200B)))
)


def byte_symbols() -> tuple[str, ...]:
    """The printable character that stands for each of the 256 bytes.

    Bytes that print in Latin-1 are themselves; the others get U+0100 onwards, in order.
    """
    printing = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printing else next(others)) for byte in range(256))


def words(text: str) -> Iterator[str]:
    """`text` cut as GPT-2's pattern cuts it; the pieces joined are the text.

    A word is a contraction, or letters, digits or other characters with one space before them, or
    white space (less its last character, when a word follows).
    """
    at = 0
    while at < len(text):
        end = _word_end(text, at)
        yield text[at:end]
        at = end


@dataclass
class Bpe:
    """An encoder over `ranks` (pairs of symbols, best first) and `vocabulary` (symbols -> id)."""

    vocabulary: dict[str, int]
    ranks: dict[tuple[str, str], int]
    _known: dict[str, list[int]] = field(default_factory=dict)

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`."""
        return [token for word in words(text) for token in self._encode_word(word)]

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._known:
            symbols = byte_symbols()
            parts = [symbols[byte] for byte in word.encode("utf-8")]
            self._known[word] = [self.vocabulary[part] for part in self._merge(parts)]
        return self._known[word]

    def _merge(self, parts: list[str]) -> list[str]:
        worst = len(self.ranks)
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, worst))
            if best not in self.ranks:
                break
            parts = _join(parts, best)
        return parts


def read_bpe(folder: Path) -> Bpe:
    """The encoder of `folder`/vocab.json and merges.txt (a version line, then a pair a line)."""
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    return Bpe(vocabulary, {(left, right): rank for rank, (left, right) in enumerate(pairs)})


def _join(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """`parts` with every occurrence of `pair`, from the left, made one."""
    joined: list[str] = []
    for part in parts:
        # What a join has made is longer than pair[0], so it is never joined again here.
        if joined and joined[-1] == pair[0] and part == pair[1]:
            joined[-1] = pair[0] + pair[1]
        else:
            joined.append(part)
    return joined


def _kind(character: str) -> str:
    if character in SPACES:
        return "space"
    category = unicodedata.category(character)[0]
    return {"L": "letter", "N": "digit"}.get(category, "other")


def _run(text: str, at: int) -> int:
    """The end of the characters of one kind that start at `at`."""
    kind = _kind(text[at])
    while at < len(text) and _kind(text[at]) == kind:
        at += 1
    return at


def _word_end(text: str, at: int) -> int:
    for contraction in CONTRACTIONS:
        if text.startswith(contraction, at):
            return at + len(contraction)
    if _kind(text[at]) != "space":
        return _run(text, at)
    if text[at] == " " and at + 1 < len(text) and _kind(text[at + 1]) != "space":
        return _run(text, at + 1)
    end = _run(text, at)
    # The last white space before a word is the word's own if it is a space; it stands alone if not.
    return end - 1 if end < len(text) and end - at > 1 else end
