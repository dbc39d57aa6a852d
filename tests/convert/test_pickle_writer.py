"""The pickles we write hold what they were given, by the reckoning of two readers."""

from argparse import Namespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from megaport.checkpoint.regions import Region
from megaport.checkpoint.torchfile import read_torch
from megaport.convert.torch_writer import Global, Pickler, legacy_stream

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 80), 1 << 80)
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def written(tree: Any) -> bytes:
    return b"".join(legacy_stream(tree))


@given(TREES)
def test_torch_and_our_reader_read_back_the_tree(
    tmp_path_factory: pytest.TempPathFactory, tree: Any
) -> None:
    data = written(tree)
    path = tmp_path_factory.mktemp("pickle") / "file.pt"
    path.write_bytes(data)
    assert torch.load(path, weights_only=True) == tree
    assert read_torch(Region("file.pt", memoryview(data))) == tree


def test_a_namespace_is_read_as_an_inert_record() -> None:
    args = Namespace(num_layers=4, params_dtype=Global("torch", "half"))
    read = read_torch(Region("file.pt", memoryview(written({"args": args}))))
    assert read["args"].name == "argparse.Namespace"
    assert read["args"].state["num_layers"] == 4


def test_what_no_checkpoint_holds_is_refused() -> None:
    with pytest.raises(TypeError, match="set has no place"):
        Pickler().dump({"a": {1, 2}})
