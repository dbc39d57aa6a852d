"""What a family passes over, and what is there twice."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from megaport.checkpoint.contents import UnknownLayoutError
from megaport.checkpoint.families.dist_family import Place, one_named, place_of
from megaport.checkpoint.open import open_checkpoint
from megaport.gpt2 import GPT2
from support.megatron_files import LEGACY, write_checkpoint
from support.megatron_model import Model
from support.reading import assert_holds, read_whole


def _with_training_state(name: str, state: dict[str, Any]) -> None:
    state |= {"rng_state": [1], "optimizer": None}


@pytest.mark.parametrize("layout", LEGACY)
def test_what_training_keeps_in_rank_files_is_ignored_by_name(layout: str, tmp_path: Path) -> None:
    form = {"layout": layout, "edit": _with_training_state}
    path = write_checkpoint(tmp_path / "c", Model(), **form)
    (path / "iter_0000007" / "notes.txt").write_text("mine")
    ignored = open_checkpoint(path / "iter_0000007", spool=tmp_path).ignored
    assert sorted(ignored) == ["notes.txt", "optimizer", "rng_state"]


def _with_optimizer(name: str, content: dict[str, Any]) -> None:
    if name == "entries":
        keys = dict(content)
        content.clear()  # training's keys come first
        content["optimizer.exp_avg"] = [((0,), torch.zeros(4))]
        content["decoder.layers.0.mlp._extra_state"] = [((0,), torch.zeros(4))]
        content |= keys
    else:
        content["rng_state"] = {"seed": 1}


@pytest.mark.parametrize("layout", ["torch_dist_layers", "torch_dcp"])
def test_what_training_keeps_beside_the_keys_is_ignored_by_name(
    layout: str, tmp_path: Path
) -> None:
    found = read_whole(tmp_path, Model(), layout=layout, edit=_with_optimizer)
    keys = {"optimizer.exp_avg", "decoder.layers.0.mlp._extra_state"}
    assert set(found.ignored) == keys | ({"rng_state"} if layout == "torch_dcp" else set())


def _with_extra_state(name: str, state: dict[str, Any]) -> None:
    state["model"]["decoder.layers.0.mlp._extra_state"] = torch.zeros(4)


def test_the_state_of_fp8_is_no_tensor_of_the_model(tmp_path: Path) -> None:
    found = read_whole(tmp_path, Model(), layout="core", edit=_with_extra_state)
    assert "decoder.layers.0.mlp._extra_state" in found.ignored


PARALLEL = {"pipeline_model_parallel_size": 2, "virtual_pipeline_model_parallel_size": 3}


@pytest.mark.parametrize(
    ("args", "sizes"),
    [
        (PARALLEL, (2, 3)),
        (dict.fromkeys(PARALLEL, 0), (1, 1)),
        (dict.fromkeys(PARALLEL, "2"), (1, 1)),
    ],
)
def test_a_distributed_formats_pipeline_is_what_its_args_say(
    args: dict[str, Any], sizes: tuple[int, int], tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="torch_dist", args=args)
    found = open_checkpoint(path, spool=tmp_path)
    assert (found.pipeline_parallel, found.virtual_pipeline) == sizes


@pytest.mark.parametrize("lost", ["metadata.json", "common.pt"])
def test_either_of_two_files_tells_torch_dist(lost: str, tmp_path: Path) -> None:
    model = Model()
    path = write_checkpoint(tmp_path / "c", model, layout="torch_dist")
    next(path.rglob(lost)).unlink()
    found = open_checkpoint(path, spool=tmp_path)
    assert found.family == "torch_dist" and (found.args is None) == (lost == "common.pt")
    assert_holds(found, model)


def test_zarr_needs_no_common_file(tmp_path: Path) -> None:
    model = Model()
    path = write_checkpoint(tmp_path / "c", model, layout="zarr")
    next(path.rglob("common.pt")).unlink()
    found = open_checkpoint(path, spool=tmp_path)
    assert found.args is None
    assert_holds(found, model)


def test_one_file_of_a_name_is_found_in_any_folder_and_two_are_refused() -> None:
    one = SimpleNamespace(source="c", files={"a/b/.metadata": 1, "b/x.metadata": 1, "common.pt": 1})
    assert one_named(one, ".metadata") == "a/b/.metadata"
    assert one_named(one, "common.pt") == "common.pt"
    assert one_named(one, "metadata.json") is None
    two = SimpleNamespace(source="c", files={"b/.metadata": 1, "a/.metadata": 1})
    with pytest.raises(UnknownLayoutError) as error:
        one_named(two, ".metadata")
    assert str(error.value) == (
        "c: found 2 files .metadata: a/.metadata, b/.metadata; expected one checkpoint. "
        "Keep one iteration, or point at its folder."
    )


def test_a_layers_key_stands_under_the_stack() -> None:
    leaf = "mlp.linear_fc2.bias"
    assert place_of(GPT2, f"decoder.layers.{leaf}") == Place("mlp.dense_4h_to_h.bias", stacked=True)
    first = Place("layers.1.mlp.dense_4h_to_h.bias")
    assert place_of(GPT2, f"decoder.layers.1.{leaf}") == first
    assert place_of(GPT2, leaf) is None
