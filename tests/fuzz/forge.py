"""Files whose checksums are right and whose pickle is not: what an attacker would write."""

import random
from collections.abc import Callable

from megaport.checkpoint.archive import read_members
from support.archives import File, zipped
from support.payloads import PAYLOADS, split
from support.torchfiles import (
    ROUTES,
    global_,
    legacy_file,
    number,
    raw,
    region,
    sizes,
    storage,
    tensor,
    text,
    tuple_of,
)

RECORD = bytes(range(24))
_MODULES = ("collections.OrderedDict", "argparse.Namespace", "fork.Thing", "torch.Size")


def rezipped(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A zip of torch's with its pickle changed, and every header and CRC made to fit."""
    files = []
    for name, member in read_members(region(data)).items():
        body = bytes(member.body.view)
        files.append(File(name.encode(), change(body) if name.endswith("data.pkl") else body))
    return zipped(*files)


_JUGGLING = (b"2", b"0", b"(", b"t", b"a", b"s", b"u", b"R", b"Q", b"b", b"\x81", b"\x92", b"1")


def _hostile(rng: random.Random, view: bytes | None) -> bytes:
    """Numbers, storages and names at the edge, or an opcode where it does not belong."""
    big = rng.choice((-1, 7, 1 << 31, 1 << 61, 1 << 64, -(1 << 63)))
    source = storage("FloatStorage", rng.choice(("0", "9")), rng.choice((6, 12, big)), view)
    return rng.choice(
        (
            tensor(source, rng.choice((0, 6, big))),
            tensor(
                storage(view=view),
                0,
                sizes(rng.choice((1, 6, big))),
                sizes(rng.choice((0, 9, big))),
            ),
            ROUTES[rng.choice(list(ROUTES))](*split(rng.choice(PAYLOADS)), text("id")),
            b"h" + bytes([rng.randrange(9)]),
            b"N" + rng.choice(_JUGGLING),
        )
    )


def _value(rng: random.Random, view: bytes | None, depth: int = 0) -> bytes:
    """Opcodes that push one value: plain, a tensor, an inert object or a container of values."""
    if rng.random() < 0.02:
        return _hostile(rng, view)
    if depth > 3 or rng.random() < 0.3:
        leaf = (
            number(rng.randrange(-9, 9)),
            text("x" * rng.randrange(9)),
            raw(b"b"),
            b"N",
            b"\x88",
        )
        return rng.choice((*leaf, tensor(storage(view=view)), global_("torch", "float16")))
    inner = [_value(rng, view, depth + 1) for _ in range(rng.randrange(4))]
    module, name = rng.choice(_MODULES).rsplit(".", 1)
    pairs = b"".join(text(str(i)) + value for i, value in enumerate(inner))
    return rng.choice(
        (
            b"](" + b"".join(inner) + b"e",
            b"}(" + pairs + b"u",
            tuple_of(*inner),
            tuple_of(*inner) + b"q\x01" + b"0h\x01",
            ROUTES[rng.choice(list(ROUTES))](module, name, *inner) + b"}(" + pairs + b"ub",
            global_(module, name) + b")R",
        )
    )


def generated(seed: int, serialization: str) -> bytes:
    """A well-formed file around a pickle that is nearly well-formed, too."""
    rng = random.Random(seed)
    view = None if serialization == "zip" else b"N"
    body = tuple_of(tensor(storage(view=view)), _value(rng, view), _value(rng, view))
    if serialization == "legacy":
        return legacy_file(body, {"0": RECORD})
    pickled = File(b"m/data.pkl", b"\x80\x02" + body + b".")
    return zipped(pickled, _record(rng), zip64=rng.random() < 0.3)


def _record(rng: random.Random) -> File:
    """A record that is as it should be, or whose headers agree on something that is not so."""
    if rng.random() < 0.8:
        return File(b"m/data/0", RECORD, flags=rng.choice((0, 8)))
    content = RECORD[: rng.randrange(25)]
    sizes_ = (None, 0, 5, 24, 25, 1 << 31, 0xFFFFFFFF)
    return File(
        b"m/data/0",
        content,
        flags=rng.choice((0, 8)),
        method=rng.choice((0, 0, 8)),
        size=rng.choice(sizes_),
        compressed=rng.choice(sizes_),
        extra=rng.choice((b"", b"\1\0\x10\0" + bytes(16), b"\1\0\4\0" + bytes(4))),
        body=rng.choice((None, content, RECORD)),
    )
