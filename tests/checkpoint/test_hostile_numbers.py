"""Numbers in names, args and metadata that claim absurd sizes end in an error, at once."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.families.rank_files import RankFilesError
from megaport.checkpoint.inspect import inspect
from megaport.checkpoint.open import open_checkpoint
from megaport.errors import MegaportError
from support.edits import added, at
from support.megatron_files import write_checkpoint
from support.megatron_model import Model
from support.reading import refused

pytestmark = pytest.mark.timeout(20)
HUGE = 10**9 - 1


@pytest.mark.parametrize("number", [HUGE, "9" * 5000])
@pytest.mark.parametrize("layout", ["core", "torch_dist_layers", "bigscience"])
def test_a_layer_number_that_is_absurd(layout: str, number: object, tmp_path: Path) -> None:
    name = f"decoder.layers.{number}.input_layernorm.bias"
    assert "layers" in refused(tmp_path, error=MegaportError, layout=layout, edit=added(name))


@pytest.mark.parametrize("key", ["tensor_model_parallel_size", "pipeline_model_parallel_size"])
@pytest.mark.parametrize("layout", ["encoder", "core"])
def test_parallel_sizes_that_are_absurd(layout: str, key: str, tmp_path: Path) -> None:
    message = refused(tmp_path, error=RankFilesError, layout=layout, args={key: HUGE})
    assert "mp_rank_0" in message


@pytest.mark.parametrize("key", ["tensor_model_parallel_size", "num_layers"])
def test_sizes_of_deepspeed_that_are_absurd(key: str, tmp_path: Path) -> None:
    message = refused(tmp_path, error=RankFilesError, layout="bigscience", args={key: HUGE})
    assert "layer_" in message


@pytest.mark.parametrize("name", [f"layer_{HUGE}-model_00", f"layer_03-model_{HUGE}"])
def test_a_file_number_of_deepspeed_that_is_absurd(name: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="bigscience")
    layer = next(path.rglob("layer_03-*"))
    layer.rename(layer.with_name(f"{name}-model_states.pt"))
    with pytest.raises(MegaportError):
        open_checkpoint(path, spool=tmp_path)


@pytest.mark.parametrize("name", [f"mp_rank_{HUGE}", f"mp_rank_00_{HUGE}"])
def test_a_rank_number_that_is_absurd(name: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder", with_args=False)
    rank = path / "iter_0000007" / "mp_rank_00"
    other = rank.with_name(name)
    other.mkdir()
    (other / "model_optim_rng.pt").write_bytes((rank / "model_optim_rng.pt").read_bytes())
    with pytest.raises(MegaportError, match="mp_rank_0"):
        open_checkpoint(path, spool=tmp_path)


@pytest.mark.parametrize("shape", [(HUGE, 0), (0, 16), (HUGE, HUGE)])
def test_a_chunk_that_claims_an_absurd_tensor(shape: tuple[int, ...], tmp_path: Path) -> None:
    piece = torch.ones(1, 1) if all(shape) else torch.empty(0, 16)
    chunk = (tuple(max(0, size - 1) for size in shape), piece)
    grow = at("entries", "decoder.layers.mlp.linear_fc2.bias", to=[chunk])
    message = refused(tmp_path, error=MegaportError, layout="torch_dist", edit=grow)
    assert "linear_fc2.bias" in message


ODD = {
    "huge": 1 << 250,
    "negative": -1,
    "zero": 0,
    "no number": float("nan"),
    "infinite": float("inf"),
    "text": "x",
    "digits": "9" * 5000,
    "surrogate": "\udcff",
    "escape": "\x1b[2J",
    "bytes": b"\xff",
    "nothing": None,
    "list": [],
    "dict": {},
    "true": True,
}
PLACES = ("checkpoint_version", "iteration", "args", "model", "num_layers", "hidden_size")
PLACES += ("num_attention_heads", "padded_vocab_size", "layernorm_epsilon", "params_dtype")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layout", ["encoder", "core", "torch_dist", "bigscience"])
def test_no_value_of_a_file_is_a_traceback(layout: str, place: str, tmp_path: Path) -> None:
    for name, value in ODD.items():

        def odd(_: str, content: dict[str, Any], value: Any = value) -> None:
            if place in content:
                content[place] = value
            elif isinstance(content.get("args"), argparse.Namespace):
                setattr(content["args"], place, value)

        path = write_checkpoint(tmp_path / name, Model(), layout=layout, edit=odd)
        try:
            found = inspect(path, {}, spool=tmp_path / "spool")
        except MegaportError as error:
            assert error.remedy
            assert str(error).replace("\n", "").isprintable()
            assert len(str(error)) < 5000
        else:
            assert json.dumps(found, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    "name", ["\x1b[2Jw", "\udcff", "a\u202eb", "x" * 10_000, "layers.\u00b2.w"]
)
@pytest.mark.parametrize("layout", ["encoder", "core", "torch_dist"])
def test_odd_names_of_tensors_are_shown_escaped_and_cut(layout, name, tmp_path: Path) -> None:
    message = refused(tmp_path, error=MegaportError, layout=layout, edit=added(name))
    assert message.replace("\n", "").isprintable()
    assert len(message) < 5000


@pytest.mark.parametrize("name", ["mp_rank_" + "9" * 200, "mp_rank_\u00b2", "mp_rank_00_\u0663"])
def test_a_rank_whose_number_is_none_is_no_rank(name: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder")
    rank = path / "iter_0000007" / "mp_rank_00"
    rank.rename(rank.with_name(name))
    with pytest.raises(MegaportError):
        open_checkpoint(path, spool=tmp_path)


@pytest.mark.parametrize("layout", ["encoder", "core", "torch_dist", "zarr", "bigscience"])
def test_a_model_without_layers_is_refused(layout: str, tmp_path: Path) -> None:
    assert "layer" in refused(tmp_path, Model(layers=0), MegaportError, layout=layout)


@pytest.mark.parametrize("said", [b"[" * 100_000, b"\xff", b"{", b"9" * 9999, b"[]", b""], ids=len)
def test_a_configuration_that_is_no_json_beside_a_model_says_nothing(said, tmp_path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder")
    (path / "iter_0000007" / "deepspeed_config.json").write_bytes(said)
    assert open_checkpoint(path, spool=tmp_path).layers == 2
