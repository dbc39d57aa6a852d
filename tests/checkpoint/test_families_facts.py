"""What a family says of a checkpoint beside its tensors, and the words it refuses one with."""

from pathlib import Path
from typing import Any

import pytest

from megaport.checkpoint.model import (
    CORE_RANKS,
    DEEPSPEED_LAYERS,
    LEGACY_RANKS,
    TORCH_DCP,
    TORCH_DIST,
    ZARR,
)
from megaport.checkpoint.open import open_checkpoint
from support.megatron_files import CORE, DEEPSPEED, LAYOUTS, write_checkpoint
from support.megatron_model import Model
from support.reading import assert_holds, read_whole

NAMED = "rank files hold tensors under {}.layers, as Megatron-LM names them"
INDEXED = ".metadata describes .distcp files, with "
OLD = "October 2019 to September 2020: language_model.transformer, no version"
NEW = "January 2021 (v2.5) to September 2023: language_model.encoder"
NORM = "September 2023 on (core 0.4): language_model.encoder, input_norm"
# Layout -> family, why it is taken for that, era, serialization.
FACTS = {
    "flat": (LEGACY_RANKS, NAMED.format("transformer"), "mid 2019: flat names", "zip"),
    "transformer": (LEGACY_RANKS, NAMED.format("transformer"), OLD, "zip"),
    "encoder": (LEGACY_RANKS, NAMED.format("encoder"), NEW, "zip"),
    "input_norm": (LEGACY_RANKS, NAMED.format("encoder"), NORM, "zip"),
    **dict.fromkeys(
        CORE,
        (
            CORE_RANKS,
            "rank files hold decoder.layers and embedding keys, as Megatron core names them",
            "2023 on: Megatron core, torch format",
            "zip",
        ),
    ),
    **dict.fromkeys(
        ("torch_dist", "torch_dist_layers"),
        (
            TORCH_DIST,
            f"{INDEXED}metadata.json beside it",
            "2023 on: Megatron core, torch_dist",
            "distcp",
        ),
    ),
    "zarr": (
        ZARR,
        "16 folders hold a .zarray",
        "2023 to 2024 (core 0.3 to 0.8): Megatron core, zarr",
        "zarr",
    ),
    **dict.fromkeys(
        ("torch_dcp", "fsdp_dtensor"),
        (
            TORCH_DCP,
            f"{INDEXED}neither metadata.json nor common.pt",
            "2025 on: Megatron core, torch_dcp or fsdp_dtensor",
            "distcp",
        ),
    ),
    **dict.fromkeys(
        DEEPSPEED,
        (
            DEEPSPEED_LAYERS,
            "4 files are named layer_II-model_TT-model_states.pt",
            "2021 on: Megatron-DeepSpeed, pipeline layer files",
            "zip",
        ),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_recognised_read_and_dated(layout: str, tmp_path: Path) -> None:
    found = read_whole(tmp_path, Model(), layout=layout)
    why = found.decisions[0]
    assert (why.subject, why.value) == ("family", found.family)
    assert (found.family, why.reason, found.era, found.serialization) == FACTS[layout]
    assert found.iteration == 7
    early = layout in ("flat", "transformer")
    assert (found.version, found.qkv_order) == ((None, "3,np,hn") if early else (3.0, "np,3,hn"))


def test_old_names_with_a_version_are_of_the_time_of_versions(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="transformer", version=1)
    found = open_checkpoint(path, spool=tmp_path)
    era = "September 2020 to January 2021 (v1.1.5 to v2.0): language_model.transformer"
    assert (found.era, found.version, found.qkv_order) == (era, 1.0, "np,hn,3")


def _unversioned(name: str, state: dict[str, Any]) -> None:
    state.pop("checkpoint_version", None)


@pytest.mark.parametrize(
    "layout", ["encoder", "input_norm", *CORE, "torch_dist", "torch_dcp", *DEEPSPEED]
)
def test_without_a_version_new_names_mean_the_last_order(layout: str, tmp_path: Path) -> None:
    found = read_whole(tmp_path, Model(), layout=layout, edit=_unversioned)
    assert (found.version, found.qkv_order) == (None, "np,3,hn")


def test_virtual_stages_from_ten_on_come_after_nine(tmp_path: Path) -> None:
    read_whole(tmp_path, Model(layers=22), layout="encoder", pp=2, vp=11)


@pytest.mark.parametrize(("stated", "stages"), [(1, 1), (2, 2), (0, 1), ("2", 1), (None, 1)])
def test_deepspeeds_pipeline_is_what_its_args_say(
    stated: object, stages: int, tmp_path: Path
) -> None:
    form = {"layout": "deepspeedai", "args": {"pipeline_model_parallel_size": stated}}
    found = open_checkpoint(write_checkpoint(tmp_path / "c", Model(), **form), spool=tmp_path)
    assert found.pipeline_parallel == stages
    assert found.args and found.args["hidden_size"] == 16


def _odd_iteration(name: str, state: dict[str, Any]) -> None:
    if "iteration" in state:
        state["iteration"] = "seven"


@pytest.mark.parametrize("layout", ["encoder", "torch_dist", "deepspeedai"])
def test_an_iteration_that_is_no_number_is_none(layout: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout=layout, edit=_odd_iteration)
    assert open_checkpoint(path, spool=tmp_path).iteration is None


def test_other_files_beside_layer_files_are_passed_over(tmp_path: Path) -> None:
    model = Model()
    path = write_checkpoint(tmp_path / "c", model, layout="bigscience")
    for name in ("README.md", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "layer_02.txt"):
        (path / "global_step7" / name).write_text("not a layer")
    assert_holds(open_checkpoint(path, spool=tmp_path), model)


def _head_called_weight(name: str, state: dict[str, Any]) -> None:
    if "lm_head.weight" in state:
        state["weight"] = state.pop("lm_head.weight")


@pytest.mark.parametrize("edit", [_head_called_weight, lambda name, state: None])
def test_a_head_of_its_own_in_a_layer_file(edit: Any, tmp_path: Path) -> None:
    read_whole(tmp_path, Model(untied=True), layout="deepspeedai", edit=edit)
