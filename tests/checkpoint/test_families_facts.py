"""What a family says of a checkpoint beside its tensors, and what it passes over."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from megaport.checkpoint.contents import UnknownLayoutError
from megaport.checkpoint.families.dist_family import Place, one_named, place_of
from megaport.checkpoint.model import (
    CORE_RANKS,
    DEEPSPEED_LAYERS,
    LEGACY_RANKS,
    TORCH_DCP,
    TORCH_DIST,
    ZARR,
)
from megaport.checkpoint.open import open_checkpoint
from megaport.gpt2 import GPT2
from support.edits import GONE, added, at, renamed
from support.megatron_files import CORE, DEEPSPEED, LAYOUTS, LEGACY, write_checkpoint
from support.megatron_model import Model
from support.reading import assert_holds, opened, read_whole

NAMED = "rank files hold tensors under {}.layers, as Megatron-LM names them"
CORE_NAMED = "rank files hold decoder.layers and embedding keys, as Megatron core names them"
INDEXED = ".metadata describes .distcp files, with "
LAYERED = "4 files are named layer_II-model_TT-model_states.pt"
OLD = "October 2019 to September 2020: language_model.transformer, no version"
NEW = "January 2021 (v2.5) to September 2023: language_model.encoder"
NORM = "September 2023 on (core 0.4): language_model.encoder, input_norm"
CORE_ERA = "2023 on: Megatron core, torch format"
DIST_ERA = "2023 on: Megatron core, torch_dist"
DCP_ERA = "2025 on: Megatron core, torch_dcp or fsdp_dtensor"
ZARR_ERA = "2023 to 2024 (core 0.3 to 0.8): Megatron core, zarr"
LAYERS_ERA = "2021 on: Megatron-DeepSpeed, pipeline layer files"
LEGACY_OLD = (LEGACY_RANKS, NAMED.format("transformer"))
LEGACY_NEW = (LEGACY_RANKS, NAMED.format("encoder"))
# Layout -> family, why it is taken for that, era, serialization.
FACTS = {
    "flat": (*LEGACY_OLD, "mid 2019: flat names", "zip"),
    "transformer": (*LEGACY_OLD, OLD, "zip"),
    "encoder": (*LEGACY_NEW, NEW, "zip"),
    "input_norm": (*LEGACY_NEW, NORM, "zip"),
    **dict.fromkeys(CORE, (CORE_RANKS, CORE_NAMED, CORE_ERA, "zip")),
    **dict.fromkeys(
        ("torch_dist", "torch_dist_layers"),
        (TORCH_DIST, f"{INDEXED}metadata.json beside it", DIST_ERA, "distcp"),
    ),
    "zarr": (ZARR, "16 folders hold a .zarray", ZARR_ERA, "zarr"),
    **dict.fromkeys(
        ("torch_dcp", "fsdp_dtensor"),
        (TORCH_DCP, f"{INDEXED}neither metadata.json nor common.pt", DCP_ERA, "distcp"),
    ),
    **dict.fromkeys(DEEPSPEED, (DEEPSPEED_LAYERS, LAYERED, LAYERS_ERA, "zip")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_recognised_read_and_dated(layout: str, tmp_path: Path) -> None:
    found = read_whole(tmp_path, layout=layout)
    why = found.decisions[0]
    assert (why.subject, why.value) == ("family", found.family)
    assert (found.family, why.reason, found.era, found.serialization) == FACTS[layout]
    assert found.iteration == 7
    early = layout in ("flat", "transformer")
    assert (found.version, found.qkv_order) == ((None, "3,np,hn") if early else (3.0, "np,3,hn"))


def test_old_names_with_a_version_are_of_the_time_of_versions(tmp_path: Path) -> None:
    found = opened(tmp_path, layout="transformer", version=1)
    era = "September 2020 to January 2021 (v1.1.5 to v2.0): language_model.transformer"
    assert (found.era, found.version, found.qkv_order) == (era, 1.0, "np,hn,3")


@pytest.mark.parametrize(
    "layout", ["encoder", "input_norm", *CORE, "torch_dist", "torch_dcp", *DEEPSPEED]
)
def test_without_a_version_new_names_mean_the_last_order(layout: str, tmp_path: Path) -> None:
    found = read_whole(tmp_path, layout=layout, edit=at("", "checkpoint_version", to=GONE))
    assert (found.version, found.qkv_order) == (None, "np,3,hn")


def test_virtual_stages_from_ten_on_come_after_nine(tmp_path: Path) -> None:
    read_whole(tmp_path, Model(layers=22), layout="encoder", pp=2, vp=11)


PIPELINE, VIRTUAL = "pipeline_model_parallel_size", "virtual_pipeline_model_parallel_size"


@pytest.mark.parametrize(
    ("layout", "args", "sizes"),
    [
        *(
            ("deepspeedai", {PIPELINE: stated}, (stages, 1))
            for stated, stages in ((1, 1), (2, 2), (0, 1), ("2", 1), (None, 1))
        ),
        ("torch_dist", {PIPELINE: 2, VIRTUAL: 3}, (2, 3)),
        ("torch_dist", {PIPELINE: 0, VIRTUAL: 0}, (1, 1)),
        ("torch_dist", {PIPELINE: "2", VIRTUAL: "2"}, (1, 1)),
    ],
)
def test_where_files_do_not_show_it_the_pipeline_is_what_args_say(
    layout: str, args: dict[str, Any], sizes: tuple[int, int], tmp_path: Path
) -> None:
    found = opened(tmp_path, layout=layout, args=args)
    assert (found.pipeline_parallel, found.virtual_pipeline) == sizes
    assert found.args and found.args["hidden_size"] == 16


@pytest.mark.parametrize(
    ("layout", "file"), [("encoder", "mp_rank"), ("torch_dist", "common"), ("deepspeedai", "mp_")]
)
def test_an_iteration_that_is_no_number_is_none(layout: str, file: str, tmp_path: Path) -> None:
    edit = at(file, "iteration", to="seven")
    assert opened(tmp_path, layout=layout, edit=edit).iteration is None


@pytest.mark.parametrize("name", ["lm_head.weight", "weight"])
def test_a_head_of_its_own_in_a_layer_file(name: str, tmp_path: Path) -> None:
    edit = renamed("layer_05", "lm_head.weight", name)
    read_whole(tmp_path, Model(untied=True), layout="deepspeedai", edit=edit)


def _with_training_state(name: str, state: dict[str, Any]) -> None:
    state |= {"rng_state": [{"cuda": torch.ones(3)}], "optimizer": {"state": torch.ones(3)}}


@pytest.mark.parametrize("layout", LEGACY)
def test_what_training_keeps_in_rank_files_is_ignored_by_name(layout: str, tmp_path: Path) -> None:
    form = {"layout": layout, "edit": _with_training_state}
    path = write_checkpoint(tmp_path / "c", Model(), **form)
    (path / "iter_0000007" / "notes.txt").write_text("mine")
    ignored = open_checkpoint(path / "iter_0000007", spool=tmp_path).ignored
    assert sorted(ignored) == ["notes.txt", "optimizer", "rng_state"]


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        *(("torch_dist", "__3_0.distcp"), ("torch_dcp", "__3_0.distcp")),
        *(("zarr", "embedding.word_embeddings.weight/7.0"), ("zarr", "__0_0.distcp")),
        *((layout, "metadata.json") for layout in ("encoder", "core", "bigscience")),
    ],
)
def test_files_of_a_model_that_nobody_reads_are_shown(
    layout: str, name: str, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout=layout)
    next(path.glob("*/")).joinpath(name).write_text("of an earlier save")
    before = read_whole(tmp_path / "before", layout=layout).ignored
    found = open_checkpoint(path, spool=tmp_path)
    assert_holds(found, Model())
    assert found.ignored == (name, *before)


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
    found = read_whole(tmp_path, layout=layout, edit=_with_optimizer)
    keys = {"optimizer.exp_avg", "decoder.layers.0.mlp._extra_state"}
    assert set(found.ignored) == keys | ({"rng_state"} if layout == "torch_dcp" else set())


def test_the_state_of_fp8_is_no_tensor_of_the_model(tmp_path: Path) -> None:
    name = "decoder.layers.0.mlp._extra_state"
    assert name in read_whole(tmp_path, layout="core", edit=added(name)).ignored


@pytest.mark.parametrize(
    ("layout", "lost"),
    [("torch_dist", "metadata.json"), ("torch_dist", "common.pt"), ("zarr", "common.pt")],
)
def test_either_of_two_files_tells_torch_dist_and_zarr_needs_none(
    layout: str, lost: str, tmp_path: Path
) -> None:
    model = Model()
    path = write_checkpoint(tmp_path / "c", model, layout=layout)
    next(path.rglob(lost)).unlink()
    found = open_checkpoint(path, spool=tmp_path)
    assert found.family == layout and (found.args is None) == (lost == "common.pt")
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
