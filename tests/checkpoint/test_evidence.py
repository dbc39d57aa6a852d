"""What says where a tensor belongs is held against the files: each row was a wrong model once."""

import json
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.features import UnsupportedModelError
from megaport.checkpoint.model import CheckpointMismatchError
from megaport.checkpoint.open import open_checkpoint
from support.edits import at
from support.megatron_files import write_checkpoint
from support.megatron_model import Model
from support.reading import read_whole, refused

FOUR = Model(layers=4)
FP8 = torch.ones(4).to(torch.float8_e4m3fn)


def swapped(path: Path, one: str, other: str) -> Path:
    here = path / "iter_0000007"
    (here / one).rename(here / "aside")
    (here / other).rename(here / one)
    (here / "aside").rename(here / other)
    return path


def copied(path: Path, one: str, other: str) -> Path:
    here = path / "iter_0000007"
    shutil.rmtree(here / other)
    shutil.copytree(here / one, here / other)
    return path


def refusal(path: Path, tmp_path: Path) -> str:
    with pytest.raises(CheckpointMismatchError) as error:
        open_checkpoint(path, spool=tmp_path)
    return str(error.value)


def ranked(ranks: dict[str, int]) -> Callable[[str, dict[str, Any]], None]:
    def edit(name: str, state: dict[str, Any]) -> None:
        state["args"].rank = ranks[name]

    return edit


@pytest.mark.parametrize("layout", ["transformer", "encoder", "core"])
@pytest.mark.parametrize("with_args", [True, False])
def test_swapped_stages_are_seen_by_what_they_hold(
    layout: str, with_args: bool, tmp_path: Path
) -> None:
    form = {"layout": layout, "pp": 2, "with_args": with_args}
    path = write_checkpoint(tmp_path / "c", FOUR, **form)
    message = refusal(swapped(path, "mp_rank_00_000", "mp_rank_00_001"), tmp_path)
    assert "out of place: position_embeddings.weight" in message
    assert "out of place: final_layernorm.weight" in message


@pytest.mark.parametrize("ranks", [("mp_rank_00_000",), ("mp_rank_00_000", "mp_rank_00_001")])
def test_swapped_chunks_of_virtual_stages_are_seen(ranks: tuple[str, ...], tmp_path: Path) -> None:
    def edit(name: str, state: dict[str, Any]) -> None:
        if name in ranks:
            state["model0"], state["model1"] = state["model1"], state["model0"]

    message = refused(tmp_path, FOUR, layout="encoder", pp=2, vp=2, edit=edit)
    assert "out of place: position_embeddings.weight" in message


@pytest.mark.parametrize("layout", ["transformer", "encoder", "core"])
def test_swapped_ranks_are_seen_by_their_args(layout: str, tmp_path: Path) -> None:
    edit = ranked({"mp_rank_00": 0, "mp_rank_01": 1})
    read_whole(tmp_path, Model(), layout=layout, tp=2, edit=edit, version=3)
    message = refusal(swapped(tmp_path / "c", "mp_rank_00", "mp_rank_01"), tmp_path)
    assert "another rank's file: mp_rank_00/model_optim_rng.pt (args.rank is 1" in message


def test_ranks_of_a_run_with_data_parallelism_are_in_place(tmp_path: Path) -> None:
    places = [(tp, pp) for tp in range(2) for pp in range(2)]
    edit = ranked({f"mp_rank_{tp:02d}_{pp:03d}": pp * 8 + tp for tp, pp in places})
    read_whole(tmp_path, FOUR, layout="core", tp=2, pp=2, edit=edit)


def test_the_same_rank_in_every_file_says_nothing(tmp_path: Path) -> None:
    edit = ranked({"mp_rank_00": 0, "mp_rank_01": 0})
    read_whole(tmp_path, Model(), layout="core", tp=2, edit=edit)


@pytest.mark.parametrize("with_args", [True, False])
def test_one_rank_copied_over_another_is_seen_by_its_bits(with_args: bool, tmp_path: Path) -> None:
    form = {"layout": "encoder", "tp": 2, "with_args": with_args}
    path = write_checkpoint(tmp_path / "c", Model(), **form)
    message = refusal(copied(path, "mp_rank_00", "mp_rank_01"), tmp_path)
    where = "layers.0.attention.query_key_value.weight"
    assert f"the same twice: {where}, rank 1 (bit-equal to {where}, rank 0)" in message


def test_one_stage_copied_over_another_is_seen_by_its_bits(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(layers=8), layout="encoder", pp=4)
    message = refusal(copied(path, "mp_rank_00_001", "mp_rank_00_002"), tmp_path)
    assert "the same twice: layers.4.attention.query_key_value.weight" in message


def test_one_layer_file_copied_over_another_is_seen(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", FOUR, layout="bigscience")
    here = path / "global_step7"
    first, second = (here / f"layer_{n:02d}-model_00-model_states.pt" for n in (3, 4))
    shutil.copy(first, second)
    assert "the same twice: layers.1." in refusal(path, tmp_path)


def test_one_chunk_copied_over_that_of_another_shape_is_seen(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="zarr")
    here = path / "iter_0000007"
    names = [f"decoder.layers.mlp.linear_fc{number}.weight" for number in (1, 2)]
    first, second = (sorted((here / name).glob("[0-9]*"))[0] for name in names)
    shutil.copy(first, second)
    assert "the same twice: layers.0.mlp.dense_4h_to_h.weight" in refusal(path, tmp_path)


def test_zeros_may_be_the_same_twice(tmp_path: Path) -> None:
    name = "decoder.layers.1.mlp.linear_fc2.weight"
    form = {"layout": "core", "tp": 2, "edit": at("mp_rank", "model", name, to=torch.zeros_like)}
    open_checkpoint(write_checkpoint(tmp_path / "c", Model(), **form), spool=tmp_path)


@pytest.mark.parametrize("layout", ["encoder", "core", "torch_dist", "bigscience"])
@pytest.mark.parametrize("version", [0, 1])
def test_an_early_version_beside_later_names_is_refused(
    layout: str, version: int, tmp_path: Path
) -> None:
    form = {"layout": layout, "version": version}
    message = refused(tmp_path, Model(), **form)
    assert f"checkpoint_version disagrees: {float(version)}" in message


def test_an_early_version_beside_later_args_is_refused(tmp_path: Path) -> None:
    form = {"layout": "transformer", "version": 1, "args": {"tensor_model_parallel_size": 1}}
    message = refused(tmp_path, Model(), **form)
    assert "checkpoint_version disagrees: 1.0 (args.tensor_model_parallel_size" in message


@pytest.mark.parametrize(
    ("version", "args"),
    [(0, {"bias_gelu_fusion": True}), (3, {"model_parallel_size": 1})],
    ids=["args of September 2020", "args of before"],
)
def test_a_version_that_code_of_the_args_time_did_not_write_is_refused(
    version: int, args: dict[str, Any], tmp_path: Path
) -> None:
    said = Namespace(hidden_size=16, num_attention_heads=4, **args)
    form = {"layout": "transformer", "version": version, "edit": at("", "args", to=said)}
    message = refused(tmp_path, Model(), **form)
    assert f"checkpoint_version disagrees: {float(version)} (args" in message


def test_names_of_2021_below_the_old_name_of_the_stack_tell_the_order_of_rows(
    tmp_path: Path,
) -> None:
    def edit(name: str, state: dict[str, Any]) -> None:
        stacks = state["model"]["language_model"]
        stacks["transformer"] = stacks.pop("encoder")

    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder", edit=edit, with_args=False)
    assert open_checkpoint(path, spool=tmp_path).qkv_order == "np,3,hn"


@pytest.mark.parametrize("value", ["none", 2, {"type": "linear"}, []])
def test_a_flag_that_is_neither_yes_nor_no_is_refused(value: Any, tmp_path: Path) -> None:
    message = refused(tmp_path, Model(), layout="encoder", args={"apply_layernorm_1p": value})
    assert "args disagree: apply_layernorm_1p" in message


def test_a_lost_file_of_args_is_seen_by_the_file_that_says_it_was_saved(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="torch_dist")
    said = {"sharded_backend": "torch_dist", "common_backend": "torch"}
    next(path.rglob("metadata.json")).write_text(json.dumps(said))
    open_checkpoint(path, spool=tmp_path)
    next(path.rglob("common.pt")).unlink()
    assert "missing: common.pt" in refusal(path, tmp_path)


def test_virtual_stages_are_as_many_as_args_say(tmp_path: Path) -> None:
    form = {"layout": "encoder", "pp": 2, "vp": 2}
    said = {"virtual_pipeline_model_parallel_size": 3}
    message = refused(tmp_path, FOUR, **form, args=said)
    assert "args disagree: virtual_pipeline_model_parallel_size (3, but files hold 2)" in message


def test_an_own_head_that_was_lost_is_missed(tmp_path: Path) -> None:
    lost = {"tie_word_embeddings": False, "untie_embeddings_and_output_weights": None}
    message = refused(tmp_path, Model(), layout="core", args=lost)
    assert "missing: output_layer.weight" in message


@pytest.mark.parametrize("name", ["mlp.linear_fc1.weight", "input_layernorm.weight"])
def test_weights_that_are_one_number_all_over_are_said(name: str, tmp_path: Path) -> None:
    edit = at("mp_rank", "model", f"decoder.layers.1.{name}", to=torch.zeros_like)
    path = write_checkpoint(tmp_path / "c", Model(), layout="core", edit=edit)
    first = open_checkpoint(path, spool=tmp_path).decisions[0]
    assert first.subject == "constant weights" and list(first.value.values()) == ["0.0 all over"]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("layernorm_epsilon", 1e-6),
        ("bias_gelu_fusion", False),
        ("consumed_train_samples", 512),
        ("apply_layernorm_1p", True),
        ("attention_of_a_fork", "other"),
    ],
)
def test_what_ranks_say_differently_is_named(argument: str, value: Any, tmp_path: Path) -> None:
    edit = at("mp_rank_01", "args", argument, to=value)
    message = refused(tmp_path, Model(), layout="core", tp=2, edit=edit)
    assert f"ranks disagree: args.{argument} (in mp_rank_01/model_optim_rng.pt: {value}" in message


def test_facts_that_are_no_numbers_are_compared_too(tmp_path: Path) -> None:
    def edit(name: str, state: dict[str, Any]) -> None:
        state["iteration"] = torch.ones(2 if name == "mp_rank_01" else 3)

    message = refused(tmp_path, Model(), layout="core", tp=2, edit=edit)
    assert "ranks disagree: iteration (in mp_rank_01/model_optim_rng.pt: tensor F32 [2]" in message


def test_all_of_it_is_in_one_error(tmp_path: Path) -> None:
    path = write_checkpoint(
        tmp_path / "c", FOUR, layout="encoder", pp=2, args={"norm_epsilon": 1e-6}
    )
    swapped(path, "mp_rank_00_000", "mp_rank_00_001")
    (path / "iter_0000007").rename(path / "iter_0000008")
    (path / "latest_checkpointed_iteration.txt").write_text("8")
    message = refusal(path, tmp_path)
    assert "folder disagrees: iter_0000008 (iteration 7 inside)" in message
    assert "out of place: position_embeddings.weight" in message
    assert "args disagree: norm_epsilon (1e-06, layernorm_epsilon 1e-05)" in message


@pytest.mark.parametrize(
    ("dtype", "stated", "fits"),
    [
        ("F16", "float32", False),
        ("F16", "bfloat16", False),
        ("BF16", "float16", False),
        ("F16", "float16", True),
        ("BF16", "bfloat16", True),
        ("F32", "bfloat16", True),
    ],
)
def test_two_bytes_are_what_params_dtype_says(
    dtype: str, stated: str, fits: bool, tmp_path: Path
) -> None:
    model, args = Model(dtype=dtype), {"params_dtype": getattr(torch, stated)}
    path = write_checkpoint(tmp_path / "c", model, layout="core", args=args)
    if fits:
        open_checkpoint(path, spool=tmp_path)
    else:
        assert "args disagree: params_dtype" in refusal(path, tmp_path)


def test_a_head_that_cannot_be_read_is_no_tied_model(tmp_path: Path) -> None:
    args = {"untie_embeddings_and_output_weights": None}
    edit = at("mp_rank", "model", "output_layer.weight", to=FP8)
    message = refused(tmp_path, Model(), layout="core", args=args, edit=edit)
    assert "unreadable: output_layer.weight" in message


@pytest.mark.parametrize("name", ["adapter.weight", "self_attention.scale_of_a_fork"])
def test_what_is_like_a_weight_and_not_used_is_refused(name: str, tmp_path: Path) -> None:
    edit = at("mp_rank", "model", f"decoder.layers.1.{name}", to=FP8)
    message = refused(tmp_path, Model(), layout="core", edit=edit)
    assert f"unreadable: decoder.layers.1.{name}" in message


def test_tensors_beside_the_model_are_refused(tmp_path: Path) -> None:
    edit = at("mp_rank", "teacher", to={"weight": torch.ones(3)})
    message = refused(tmp_path, Model(), layout="core", edit=edit)
    assert "extra: teacher.weight (beside the model in mp_rank_00" in message


def test_deepspeeds_sparse_attention_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder")
    sparse = {"sparse_attention": {"mode": "alternating"}}
    (path / "deepspeed_config.json").write_text(json.dumps(sparse))
    with pytest.raises(UnsupportedModelError, match=r"sparse attention .*deepspeed_config\.json"):
        open_checkpoint(path, spool=tmp_path)
    (path / "deepspeed_config.json").write_text(json.dumps({"fp16": {"enabled": True}}))
    open_checkpoint(path, spool=tmp_path)
