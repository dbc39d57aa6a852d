"""Rank and layer files beyond the usual: files twice, keys twice, odd states, and odd args."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.contents import UnknownLayoutError, flatten, plain_args
from megaport.checkpoint.families.rank_files import RankFilesError
from megaport.checkpoint.open import open_checkpoint
from megaport.checkpoint.records import Name, Record
from megaport.errors import MegaportError
from megaport.tensors import Tensor
from support.megatron_files import save, write_checkpoint
from support.megatron_model import Model


def test_two_files_of_one_rank_are_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder")
    rank = path / "iter_0000007" / "mp_rank_00" / "model_optim_rng.pt"
    (rank.parent / "model_rng.pt").write_bytes(rank.read_bytes())
    with pytest.raises(RankFilesError, match=r"model_optim_rng\.pt and .*model_rng\.pt"):
        open_checkpoint(path, spool=tmp_path)


def test_a_rank_too_many_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder")
    rank = path / "iter_0000007" / "mp_rank_00" / "model_optim_rng.pt"
    other = rank.parent.with_name("mp_rank_01") / rank.name
    other.parent.mkdir()
    other.write_bytes(rank.read_bytes())
    with pytest.raises(RankFilesError, match=r"mp_rank_01.*a rank too many"):
        open_checkpoint(path, spool=tmp_path)


def test_layer_files_without_a_layer_are_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="deepspeedai")
    for index in (2, 3):
        next(path.rglob(f"layer_0{index}-*")).unlink()
    with pytest.raises(RankFilesError, match="no file that holds a layer"):
        open_checkpoint(path, spool=tmp_path)


def test_a_rank_that_lacks_a_tensor_is_named(tmp_path: Path) -> None:
    def drop(name: str, state: dict[str, Any]) -> None:
        if name == "mp_rank_01":
            del state["model"]["decoder.layers.1.mlp.linear_fc1.bias"]

    path = write_checkpoint(tmp_path / "c", Model(), layout="core", tp=2, edit=drop)
    with pytest.raises(
        MegaportError, match=r"missing: layers\.1\.mlp\.dense_h_to_4h\.bias \(in mp_rank_01"
    ):
        open_checkpoint(path, spool=tmp_path)


@pytest.mark.parametrize("state", [[1, 2], {"model": "gone"}, {"weights": {}}], ids=str)
def test_a_file_of_something_else_is_refused(state: object, tmp_path: Path) -> None:
    save(state, tmp_path / "model.pt")
    with pytest.raises(UnknownLayoutError):
        open_checkpoint(tmp_path / "model.pt", spool=tmp_path)


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
    assert plain_args(Record("argparse.Namespace")) is None
    assert list(flatten({"a": {"b": 1}, "c": 2})) == [("a.b", 1), ("c", 2)]


def test_args_may_be_a_dictionary(tmp_path: Path) -> None:
    def as_dictionary(name: str, state: dict[str, Any]) -> None:
        assert isinstance(state["args"], Namespace)
        state["args"] = vars(state["args"])

    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder", edit=as_dictionary)
    checkpoint = open_checkpoint(path, spool=tmp_path)
    assert checkpoint.args is not None
    assert checkpoint.args["num_attention_heads"] == 4
