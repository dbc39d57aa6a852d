"""Seeded mutations of files: what a bad disk, a bad copy or a patient attacker would do."""

import random
from collections.abc import Callable

Mutation = Callable[[random.Random, bytearray], None]
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, *b"PK().}]tRbuQqhX\x8a\x8c\x93\x94\x95")
_LENGTHS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")


def _flip(rng: random.Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] = rng.choice(_INTERESTING)


def _length(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    data[at : at + 4] = rng.choice(_LENGTHS)


def _remove(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 2, 8, 64))]


def _repeat(rng: random.Random, data: bytearray) -> None:
    at, length = rng.randrange(len(data)), rng.choice((1, 4, 16, 200))
    data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))


def _move(rng: random.Random, data: bytearray) -> None:
    start, length, to = rng.randrange(len(data)), rng.choice((2, 8, 40)), rng.randrange(len(data))
    data[to : to + length] = data[start : start + length]


def _truncate(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


MUTATIONS: tuple[Mutation, ...] = (_flip, _set, _length, _remove, _repeat, _move, _truncate)


def mutated(seed: int, data: bytes) -> bytes:
    """`data` after one to four mutations; the same for the same seed."""
    rng = random.Random(seed)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if changed:
            rng.choice(MUTATIONS)(rng, changed)
    return bytes(changed)
