"""Hazards, "Checkpoint pickle": damaged pickles, and those that want time, memory or depth."""

import pickle as python_pickle
import struct

import pytest

from fuzz.harness import bounded
from megaport.checkpoint import pickle as pickle_module
from megaport.checkpoint.pickle import read_pickle
from megaport.checkpoint.records import BadPickleError, PickleTooLargeError, Record
from support.torchfiles import global_, number, pickle, raw, reduce, region, text, tuple_of


def refused(data: bytes, match: str, kind: type[BadPickleError] = BadPickleError) -> None:
    with bounded(len(data), "a pickle"), pytest.raises(kind, match=match):
        read_pickle(region(data))


@pytest.mark.parametrize("get", [b"h\x07", b"j\x07\x00\x00\x00", b"g7\n"])
def test_missing_memo_key_typed_error(get: bytes) -> None:
    refused(pickle(get), "memo key 7")


@pytest.mark.parametrize("part", [number(1), b"N", b"]", raw(b"os"), b")"])
def test_int_as_module_typed_error(part: bytes) -> None:
    refused(pickle(part, text("system"), b"\x93", protocol=4), "module or name is not text")
    refused(pickle(text("os"), part, b"\x93", protocol=4), "module or name is not text")


@pytest.mark.parametrize(
    "part",
    [
        b"X\x02\x00\x00\x00\xff\xfe",
        b"\x8c\x01\xff",
        b"\x8d\x01" + bytes(7) + b"\xc3",
        b"c\xff\nx\n",
        b"(i\xff\nx\n",
        b"V\\uZZZZ\n",
        b"S'\\x4'\n",
    ],
)
def test_bad_utf8_typed_error(part: bytes) -> None:
    refused(pickle(part, protocol=4), "cannot be read")


def test_second_pickle_after_stop_typed_error() -> None:
    refused(pickle(b"N") + pickle(b"N"), "bytes after the end")
    refused(pickle(b"N") + b"\x00", "1 bytes after the end")
    refused(pickle(b"\x80\x02N"), "a second pickle header")


@pytest.mark.parametrize("data", [b"", b"PK", b"not a pickle", b"\x80", b"\x80\x06N.", b"\xff"])
def test_wrong_magic_typed_error(data: bytes) -> None:
    refused(data, "found")


FRAMED = python_pickle.dumps({"a": list(range(20)), "b": "text" * 20}, protocol=4)


@pytest.mark.parametrize("change", [*range(1, 60), -1, -100, -(1 << 40)])
def test_frame_shorter_or_longer_than_its_body_typed_error(change: int) -> None:
    assert FRAMED[2] == 0x95
    length = struct.unpack_from("<Q", FRAMED, 3)[0]
    refused(FRAMED[:3] + struct.pack("<Q", length - change) + FRAMED[11:], "frame")


def test_frames_within_frames_typed_error() -> None:
    inner = b"\x95" + struct.pack("<Q", 2) + b"N."
    refused(b"\x80\x04\x95" + struct.pack("<Q", len(inner)) + inner, "frame")


@pytest.mark.parametrize("protocol", [4, 5])
def test_real_frames_with_large_payloads_between_them_are_read(protocol: int) -> None:
    value = ["a" * 70_000, b"b" * 200_000, list(range(40_000)), "c" * 65_536, {"d": b"e" * 65_535}]
    assert read_pickle(region(python_pickle.dumps(value, protocol))) == value


def test_every_truncation_of_a_pickle_typed_error() -> None:
    for protocol in range(6):
        whole = python_pickle.dumps(
            {"a": [1, 2.5, "x", b"y", None, (True,)], "b": {3: 4}}, protocol
        )
        for end in range(len(whole)):
            with pytest.raises(BadPickleError):
                read_pickle(region(whole[:end]))


@pytest.mark.parametrize(
    "opcode",
    b"R b s a \x81 \x92 \x93 Q 2 \x85 \x87 q\x00 \x94 u e t l d o 0 1 \x90 \x91 (o }(Nu".split(),
    ids=repr,
)
def test_opcodes_without_their_operands_typed_error(opcode: bytes) -> None:
    refused(pickle(opcode, protocol=4), "found")


@pytest.mark.parametrize("opcode", [b"\x97", b"\x98", b"\x01", b"~", b"\x99", b"\xfe"], ids=repr)
def test_buffers_out_of_band_and_unknown_opcodes_typed_error(opcode: bytes) -> None:
    refused(pickle(b"N", opcode, protocol=5), "buffer|opcode")


@pytest.mark.parametrize("data", [pickle(b"NN"), pickle(b"(N"), pickle(b"")])
def test_a_pickle_of_no_single_value_typed_error(data: bytes) -> None:
    refused(data, "single value|needs more values")


@pytest.mark.parametrize(
    "part",
    [
        *(b"Ix\n", b"L1x\n", b"Fx\n", b"Sx\n", b"S'x\n", b"px\n", b"g-1\n", b"I" + b"9" * 5000),
        *(
            b"I" + b"9" * 3000 + b"\n",
            b"\x8b\xff\xff\xff\xff",
            b"\x8b\x00\x01\x00\x00" + b"\x01" * 256,
        ),
        *(b"T\xff\xff\xff\xff", b"X\xff\xff\xff\xff", b"\x8d" + b"\xff" * 8, b"\x96" + b"\xff" * 8),
    ],
    ids=lambda part: repr(part[:12]),
)
def test_numbers_and_lengths_that_lie_typed_error(part: bytes) -> None:
    refused(pickle(part, protocol=5), "found")


def shared(levels: int, fan: int, key: str = "k") -> bytes:
    """Dicts in dicts, each shared `fan` times: about fan ** levels paths to one leaf."""
    body = b"}q\x00" + text("leaf") + number(1) + b"s"
    for level in range(1, levels):
        pairs = b"".join(text(f"{key}{i}") + b"h" + bytes([level - 1]) for i in range(fan))
        body = body + b"0}(" + pairs + b"uq" + bytes([level])
    return body


MANY = {
    "tuples of the same twice, by DUP": text("lol") + b"2\x86" * 60,
    "tuples of the same twice, by the memo": text("lol") + b"q\x00h\x00\x86" * 60,
    "dicts shared many times over": shared(6, 60),
    "dicts of long names": shared(3, 200, "long" * 100),
    "a list shared in itself 22 times": b"]q\x00Na" + b"0](h\x00h\x00eq\x00" * 22,
    "lists in lists beside a long text": b"("
    + text("x" * 300_000)
    + b"]" * 90
    + b"a" * 89
    + b"q\x00"
    + b"h\x00" * 30_000
    + b"l",
    "a long text repeated": b"(" + text("x" * 100_000) + b"q\x00" + b"h\x00" * 10_000 + b"l",
    "a long name of a class repeated": b"(cfork\n"
    + b"C" * 290
    + b"\nq\x00"
    + b"h\x00" * 20_000
    + b"l",
}


@pytest.mark.parametrize("name", MANY)
def test_shared_parts_are_not_written_out_for_every_path(name: str) -> None:
    refused(pickle(MANY[name]), "repetition", PickleTooLargeError)


@pytest.mark.parametrize("depth", [101, 5_000])
@pytest.mark.parametrize(
    "wrap", [(b"]", b"a"), (b"(", b"t"), (b"}N", b"s")], ids=["list", "t", "d"]
)
def test_deep_nesting_bounded(depth: int, wrap: tuple[bytes, bytes]) -> None:
    refused(pickle(wrap[0] * depth + b"N" + wrap[1] * depth), "nested", PickleTooLargeError)


def test_deep_nesting_through_records_bounded() -> None:
    maker = global_("some_fork", "Box")
    refused(pickle(maker * 5_000 + b")" + b"R\x85" * 5_000), "nested", PickleTooLargeError)


@pytest.mark.parametrize(
    "body",
    [b"]q\x00h\x00a", b"}q\x00" + text("x") + b"h\x00s", b"]q\x00h\x00\x85a", b"]q\x00(}h\x00lNs"],
)
def test_self_reference_refused(body: bytes) -> None:
    refused(pickle(body), "found")


def test_self_reference_through_a_record_is_let_be() -> None:
    """Some fork's argument object may know its owner; Records are leaves to readers of trees."""
    body = reduce(global_("some_fork", "Timer")) + b"q\x00}" + text("owner") + b"h\x00sb"
    value = read_pickle(region(pickle(body)))
    assert isinstance(value, Record)
    assert value.state["owner"] is value
    assert repr(value) == "<some_fork.Timer>"


def test_constructors_that_copy_a_long_list_again_and_again_bounded() -> None:
    long = b"](" + b"N" * 100_000 + b"eq\x00"
    for kind in ("set", "list", "tuple", "frozenset"):
        again = reduce(global_("builtins", kind), b"h\x00") * 300
        refused(pickle(b"(", long, again, b"t"), "copies itself", PickleTooLargeError)
    encode = text("x" * 100_000) + b"q\x00"
    again = reduce(global_("_codecs", "encode"), b"h\x00", text("latin1")) * 300
    refused(pickle(b"(", encode, again, b"t"), "copies itself", PickleTooLargeError)
    parts = b"(" + b"U\x00" * 100_000 + b"tq\x00"
    again = (global_("pathlib", "PosixPath") + b"h\x00R") * 300
    refused(pickle(b"(", parts, again, b"t"), "copies itself", PickleTooLargeError)


def test_values_from_the_file_are_never_shown_whole() -> None:
    """The text of 2^60 nested tuples, or of one thousands deep, would never end."""
    laughs = text("lol") + b"2\x86" * 60
    deep = b"(" * 3_000 + b"t" * 3_000
    for bad in (laughs, deep):
        for call in (
            reduce(global_("_codecs", "encode"), text("x"), bad),
            reduce(bad, text("x")),
            reduce(global_("collections", "OrderedDict"), b"(" + bad + b"l"),
            reduce(global_("torch._utils", "_rebuild_tensor_v2"), bad, bad, bad, bad),
            bad + b"Q",
            bad + text("x") + b"\x93",
        ):
            refused(pickle(call, protocol=4), "found")


@pytest.mark.parametrize("name", ["bytes", "bytearray"])
def test_bytes_of_a_huge_length_refused(name: str) -> None:
    refused(pickle(reduce(global_("builtins", name), number(1 << 40))), "bytes made of")


def test_keys_whose_hashes_collide_bounded() -> None:
    modulus = (1 << 61) - 1
    huge = b"".join(number(i * modulus) + b"N" for i in range(1, 4))
    refused(pickle(b"}(" + huge + b"u"), "huge integer")
    pairs = b"".join(tuple_of(number(i)) + b"N" for i in range(10_000))
    refused(pickle(b"}(" + pairs + b"u"), "tuples as keys", PickleTooLargeError)


KEYS = [b"]", b"}", b"]\x85", b")" + b"2\x86" * 60, b")" * 65 + b"("]


@pytest.mark.parametrize("key", KEYS, ids=["list", "dict", "tuple of a list", "endless", "a mark"])
def test_keys_that_python_cannot_hash_or_not_soon_typed_error(key: bytes) -> None:
    refused(pickle(b"}" + key + b"Ns"), "as a key|without its values")


def test_more_opcodes_than_any_checkpoint_has_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_module, "MOST_OPCODES", 1000)
    refused(pickle(b"N0" * 600 + b"N"), "opcodes", PickleTooLargeError)


def test_a_memo_key_of_four_billion_allocates_nothing() -> None:
    with bounded(0, "a pickle", 1 << 20):
        read = read_pickle(region(pickle(b"Nr\xff\xff\xff\xffj\xff\xff\xff\xff\x86")))
    assert read == (None, None)
