"""Training args as plain data, whatever class holds them."""

from typing import Any

import pytest
import torch

from megaport.checkpoint.contents import UnknownLayoutError, flatten, plain_args
from megaport.checkpoint.records import Name, Record
from megaport.tensors import Tensor


def test_args_become_plain_data() -> None:
    enum = Record("megatron.core.enums.ModelType", args=(1,))
    odd = Record("fork.Thing", args=(enum,))
    tensor = Tensor("F32", torch.ones(2).numpy())
    state = {
        "params_dtype": Name("torch.float16"),
        "model_type": enum,
        "thing": odd,
        "ranks": (0, [1]),
        "table": {1: None},
        "weights": tensor,
        "raw": b"x",
    }
    assert plain_args(Record("argparse.Namespace", state=state)) == {
        "params_dtype": "torch.float16",
        "model_type": "megatron.core.enums.ModelType(1)",
        "thing": "fork.Thing(...)",
        "ranks": [0, [1]],
        "table": {"1": None},
        "weights": "tensor F32 [2]",
        "raw": "b'x'",
    }
    assert plain_args(None) is None
    assert list(flatten({"a": {"b": 1}, "c": 2})) == [("a.b", 1), ("c", 2)]


@pytest.mark.parametrize(
    "held",
    [{"n": 1}, Record("fork.Args", state={"n": 1}), Record("fork.Dict", contents={"n": 1})],
    ids=["a dictionary", "a class of a fork", "a dictionary of a fork"],
)
def test_args_may_be_of_any_class(held: Any) -> None:
    assert plain_args(held) == {"n": 1}


@pytest.mark.parametrize("held", [Record("argparse.Namespace"), Record("a.B", ("x",)), 5, [1]])
def test_args_that_nobody_can_read_are_no_missing_args(held: Any) -> None:
    with pytest.raises(UnknownLayoutError, match="training arguments by name"):
        plain_args(held)
