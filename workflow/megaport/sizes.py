"""Shapes as laws in symbols, and the sizes of one model, which turn them into numbers.

V padded vocabulary, v vocabulary, P positions, H hidden, F feed-forward, D head size, A all heads
of the queries, K all heads of the keys, Q queries, keys and values; 3H is 3 x H. Needs nothing but
the standard library.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Law = tuple[str, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the symbols of the shape laws stand for, and the number of attention heads.

    `n_group` keys and values are shared by `n_head` queries; None means that each has its own.
    `head_size` of None means `n_embd` / `n_head`.
    """

    n_head: int
    n_group: int | None = None
    head_size: int | None = None
    n_embd: int
    n_inner: int
    n_positions: int
    vocab_size: int
    padded_vocab_size: int

    @property
    def groups(self) -> int:
        return self.n_group or self.n_head

    @property
    def width(self) -> int:
        """The size of one attention head."""
        return self.head_size or self.n_embd // self.n_head

    @property
    def symbols(self) -> dict[str, int]:
        return {
            "V": self.padded_vocab_size,
            "v": self.vocab_size,
            "P": self.n_positions,
            "H": self.n_embd,
            "F": self.n_inner,
            "D": self.width,
            "A": self.width * self.n_head,
            "K": self.width * self.groups,
            "Q": self.width * (self.n_head + 2 * self.groups),
        }

    def shape(self, law: Law) -> Shape:
        """The numbers of a shape law, e.g. ("3H", "H") -> (3072, 1024)."""
        return numbers_of(law, self.symbols)


def factor_of(symbol: str) -> tuple[int, str]:
    """The number and the letters of a law's entry: "3H" -> (3, "H")."""
    letters = symbol.lstrip("0123456789")
    return int(symbol[: -len(letters)] or 1), letters


def numbers_of(law: Law, symbols: Mapping[str, int]) -> Shape:
    """The numbers of a shape law; KeyError for a symbol that has none."""
    factors = (factor_of(symbol) for symbol in law)
    return tuple(number * symbols[letters] for number, letters in factors)


def cut(shape: Shape, axis: int | None, shards: int) -> Shape:
    """The shape of one of `shards` equal shards along `axis`; the whole where that is None."""
    return tuple(n // shards if place == axis else n for place, n in enumerate(shape))
