"""Pickles of plain data read as Python's own unpickler would, in every protocol."""

import argparse
import collections
import datetime
import enum
import pathlib
import pickle as python_pickle
import signal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaport.checkpoint.pickle import read_pickle
from megaport.checkpoint.records import BadPickleError, Record
from megaport.errors import MegaportError
from support.torchfiles import global_, number, pickle, raw, reduce, region, text


class Colour(enum.Enum):
    RED = 1


KEYS = st.one_of(
    st.text(max_size=8),
    st.integers(-(1 << 59), 1 << 59),
    st.binary(max_size=8),
    st.booleans(),
    st.none(),
    st.tuples(st.integers(0, 9), st.text(max_size=3)),
)
LEAVES = st.one_of(
    KEYS, st.integers(-(1 << 255), 1 << 255), st.floats(allow_nan=False), st.binary(max_size=300)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4).map(collections.OrderedDict),
    ),
    max_leaves=25,
)


@given(TREES, st.integers(0, 5))
@settings(deadline=None, max_examples=120)
def test_plain_data_is_what_pickle_gives(tree: Any, protocol: int) -> None:
    assert read_pickle(region(python_pickle.dumps(tree, protocol))) == tree


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=500)
def test_any_bytes_are_a_value_or_a_named_error(data: bytes) -> None:
    try:
        read_pickle(region(b"\x80\x04" + data))
    except MegaportError as error:
        assert error.seen
        assert error.remedy


@pytest.mark.parametrize("protocol", range(6))
def test_data_classes_of_real_checkpoints(protocol: int) -> None:
    value = {
        "args": argparse.Namespace(num_layers=4, path=pathlib.PurePosixPath("/data/x"), sig=None),
        "signal": signal.SIGTERM,
        "set": {7},
        "frozen": frozenset([8]),
        "array": bytearray(b"\x00\xff"),
        "default": collections.defaultdict(list, {"a": [1]}),
        "queue": collections.deque([1, 2], maxlen=5),
        "counter": collections.Counter("aab"),
        "scalar": np.float64(0.5),
        "flag": np.bool_(True),
        "word": np.int32(-7),
        "words": np.arange(3, dtype=np.uint32),
        "age": datetime.timedelta(days=1),
        "colour": Colour.RED,
    }
    read = read_pickle(region(python_pickle.dumps(value, protocol)))
    args = read["args"]
    assert isinstance(args, Record)
    assert args.name == "argparse.Namespace"
    assert args.state == {"num_layers": 4, "path": "/data/x", "sig": None}
    assert read["signal"].name == "signal.Signals"
    assert read["set"] == [7]
    assert read["frozen"] == [8]
    assert read["array"] == b"\x00\xff"
    assert (read["default"], read["counter"]) == ({"a": [1]}, {"a": 2, "b": 1})
    assert read["queue"] == [1, 2]
    assert (read["scalar"], read["flag"], read["word"]) == (0.5, True, -7)
    assert {type(read[k]) for k in ("scalar", "flag", "word")} == {float, bool, int}
    assert isinstance(read["words"], Record)
    assert read["age"].name == "datetime.timedelta"
    assert read["colour"].name.endswith("Colour")


def test_python_2_strings_are_text_where_they_are_utf8() -> None:
    assert read_pickle(region(pickle(b"U\x02ab"))) == "ab"
    assert read_pickle(region(pickle(b"T\x02\x00\x00\x00\xff\xfe"))) == b"\xff\xfe"


def test_python_2_classes_and_sets() -> None:
    old = reduce(global_("copy_reg", "_reconstructor"), global_("some", "Old"))
    assert read_pickle(region(pickle(old))).name == "some.Old"
    with_base = reduce(
        global_("copy_reg", "_reconstructor"),
        global_("some", "Old"),
        global_("__builtin__", "object"),
        b"N",
    )
    assert read_pickle(region(pickle(with_base))).name == "some.Old"
    made = reduce(global_("__builtin__", "set"), b"](" + number(1) + number(2) + b"e")
    assert read_pickle(region(pickle(made))) == [1, 2]


@pytest.mark.parametrize(
    "bad",
    [
        reduce(global_("collections", "OrderedDict"), number(3)),
        reduce(global_("collections", "OrderedDict"), b"]" + number(1) + b"a"),
        reduce(global_("builtins", "set"), text("abc")),
        reduce(global_("_codecs", "encode"), text("abc"), text("rot13")),
        reduce(global_("_codecs", "encode"), text("abc")),
        reduce(global_("_codecs", "encode"), text("\u20ac"), text("latin1")),
        reduce(global_("pathlib", "PosixPath"), number(1)),
        reduce(global_("copyreg", "_reconstructor")),
        reduce(global_("copyreg", "__newobj__"), text("x")),
        reduce(global_("torch", "Size"), number(1)),
    ],
)
def test_constructors_with_arguments_they_never_get_refused(bad: bytes) -> None:
    with pytest.raises(BadPickleError):
        read_pickle(region(pickle(bad)))


def test_objects_made_of_other_than_arguments_refused() -> None:
    thing = global_("fork", "Thing")
    for operands in (b")N", b"]}", b"N}"):
        with pytest.raises(BadPickleError, match="other than arguments"):
            read_pickle(region(pickle(thing, operands, b"\x92", protocol=4)))
    keywords = pickle(thing, b")}" + text("a") + number(1) + b"s\x92", protocol=4)
    assert read_pickle(region(keywords)).args == ({"a": 1},)


@pytest.mark.parametrize(
    ("code", "data"), [("O8", b"x" * 8), ("f8", b"short"), ("V9", b"x" * 9), ("f8,f8", b"x" * 16)]
)
def test_numpy_scalars_of_other_kinds_stay_inert(code: str, data: bytes) -> None:
    dtype = reduce(global_("numpy", "dtype"), text(code), b"\x89", b"\x88")
    scalar = reduce(global_("numpy.core.multiarray", "scalar"), dtype, raw(data))
    assert isinstance(read_pickle(region(pickle(scalar))), Record)
