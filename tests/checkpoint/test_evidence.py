"""What says where a tensor belongs is held against the files: each row was a wrong model once."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.model import CheckpointMismatchError
from megaport.checkpoint.open import open_checkpoint
from support.edits import RANK, Edit, at, copied, every, lost, swapped
from support.megatron_files import write_checkpoint
from support.megatron_model import Model
from support.reading import opened, read_whole, refused

FOUR = Model(layers=4)
FP8 = torch.ones(4).to(torch.float8_e4m3fn)
SWAPPED_STAGES = swapped("mp_rank_00_000", "mp_rank_00_001")


def ranked(*ranks: int) -> Edit:
    """args.rank of each tensor-parallel rank's file."""
    return every(*(at(f"mp_rank_{n:02d}", "args", "rank", to=rank) for n, rank in enumerate(ranks)))


@pytest.mark.parametrize("layout", ["transformer", "encoder", "core"])
@pytest.mark.parametrize("with_args", [True, False])
def test_swapped_stages_are_seen_by_what_they_hold(
    layout: str, with_args: bool, tmp_path: Path
) -> None:
    form = {"layout": layout, "pp": 2, "with_args": with_args}
    message = refused(tmp_path, FOUR, change=SWAPPED_STAGES, **form)
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
    form = {"layout": layout, "tp": 2, "edit": ranked(0, 1), "version": 3}
    read_whole(tmp_path / "right", **form)
    message = refused(tmp_path, change=swapped("mp_rank_00", "mp_rank_01"), **form)
    assert "another rank's file: mp_rank_00/model_optim_rng.pt (args.rank is 1" in message


def test_ranks_of_a_run_with_data_parallelism_are_in_place(tmp_path: Path) -> None:
    ranks = [
        at(f"mp_rank_{tp:02d}_{pp:03d}", "args", "rank", to=pp * 8 + tp)
        for tp in range(2)
        for pp in range(2)
    ]
    read_whole(tmp_path, FOUR, layout="core", tp=2, pp=2, edit=every(*ranks))


def test_the_same_rank_in_every_file_says_nothing(tmp_path: Path) -> None:
    read_whole(tmp_path, layout="core", tp=2, edit=ranked(0, 0))


@pytest.mark.parametrize("with_args", [True, False])
def test_one_rank_copied_over_another_is_seen_by_its_bits(with_args: bool, tmp_path: Path) -> None:
    form = {"layout": "encoder", "tp": 2, "with_args": with_args}
    copy = copied(f"mp_rank_00/{RANK}", f"iter_0000007/mp_rank_01/{RANK}")
    message = refused(tmp_path, change=copy, **form)
    where = "layers.0.attention.query_key_value.weight"
    assert f"the same twice: {where}, rank 1 (bit-equal to {where}, rank 0)" in message


def test_one_stage_copied_over_another_is_seen_by_its_bits(tmp_path: Path) -> None:
    copy = copied(f"mp_rank_00_001/{RANK}", f"iter_0000007/mp_rank_00_002/{RANK}")
    message = refused(tmp_path, Model(layers=8), change=copy, layout="encoder", pp=4)
    assert "the same twice: layers.4.attention.query_key_value.weight" in message


def test_one_chunk_copied_over_that_of_another_shape_is_seen(tmp_path: Path) -> None:
    one, other = (f"decoder.layers.mlp.linear_fc{n}.weight/0.0.0" for n in (1, 2))
    message = refused(tmp_path, change=copied(one, f"iter_0000007/{other}"), layout="zarr")
    assert "the same twice: layers.0.mlp.dense_4h_to_h.weight" in message


def test_zeros_may_be_the_same_twice(tmp_path: Path) -> None:
    name = "decoder.layers.1.mlp.linear_fc2.weight"
    zeros = at("mp_rank", "model", name, to=torch.zeros_like)
    opened(tmp_path, layout="core", tp=2, edit=zeros)


def test_names_of_2021_below_the_old_name_of_the_stack_tell_the_order_of_rows(
    tmp_path: Path,
) -> None:
    def edit(name: str, state: dict[str, Any]) -> None:
        stacks = state["model"]["language_model"]
        stacks["transformer"] = stacks.pop("encoder")

    assert opened(tmp_path, layout="encoder", edit=edit, with_args=False).qkv_order == "np,3,hn"


@pytest.mark.parametrize("value", ["none", 2, {"type": "linear"}, []])
def test_a_flag_that_is_neither_yes_nor_no_is_refused(value: Any, tmp_path: Path) -> None:
    message = refused(tmp_path, layout="encoder", args={"apply_layernorm_1p": value})
    assert "args disagree: apply_layernorm_1p" in message


def test_a_lost_file_of_args_is_seen_by_the_file_that_says_it_was_saved(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="torch_dist")
    said = {"sharded_backend": "torch_dist", "common_backend": "torch"}
    next(path.rglob("metadata.json")).write_text(json.dumps(said))
    open_checkpoint(path, spool=tmp_path)
    lost("common.pt")(path)
    with pytest.raises(CheckpointMismatchError, match=r"missing: common\.pt"):
        open_checkpoint(path, spool=tmp_path)


def test_virtual_stages_are_as_many_as_args_say(tmp_path: Path) -> None:
    said = {"virtual_pipeline_model_parallel_size": 3}
    message = refused(tmp_path, FOUR, layout="encoder", pp=2, vp=2, args=said)
    assert "args disagree: virtual_pipeline_model_parallel_size (3, but files hold 2)" in message


def test_an_own_head_that_was_lost_is_missed(tmp_path: Path) -> None:
    args = {"tie_word_embeddings": False, "untie_embeddings_and_output_weights": None}
    assert "missing: output_layer.weight" in refused(tmp_path, layout="core", args=args)


@pytest.mark.parametrize("name", ["mlp.linear_fc1.weight", "input_layernorm.weight"])
def test_weights_that_are_one_number_all_over_are_said(name: str, tmp_path: Path) -> None:
    zeros = at("mp_rank", "model", f"decoder.layers.1.{name}", to=torch.zeros_like)
    first = opened(tmp_path, layout="core", edit=zeros).decisions[0]
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
    message = refused(tmp_path, layout="core", tp=2, edit=edit)
    assert f"ranks disagree: args.{argument} (in mp_rank_01/model_optim_rng.pt: {value}" in message


def test_facts_that_are_no_numbers_are_compared_too(tmp_path: Path) -> None:
    sizes = {"mp_rank_00": 3, "mp_rank_01": 2}
    edit = every(*(at(file, "iteration", to=torch.ones(size)) for file, size in sizes.items()))
    message = refused(tmp_path, layout="core", tp=2, edit=edit)
    assert "ranks disagree: iteration (in mp_rank_01/model_optim_rng.pt: tensor F32 [2]" in message


def test_all_of_it_is_in_one_error(tmp_path: Path) -> None:
    def change(path: Path) -> None:
        SWAPPED_STAGES(path)
        (path / "iter_0000007").rename(path / "iter_0000008")
        (path / "latest_checkpointed_iteration.txt").write_text("8")

    form = {"layout": "encoder", "pp": 2, "args": {"norm_epsilon": 1e-6}}
    message = refused(tmp_path, FOUR, change=change, **form)
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
    model, form = Model(dtype=dtype), {"args": {"params_dtype": getattr(torch, stated)}}
    if fits:
        opened(tmp_path, model, layout="core", **form)
    else:
        assert "args disagree: params_dtype" in refused(tmp_path, model, layout="core", **form)


@pytest.mark.parametrize(
    "name",
    [
        "decoder.layers.1.adapter.weight",
        "decoder.layers.1.self_attention.scale_of_a_fork",
        "output_layer.weight",  # nor is a model tied whose head cannot be read
    ],
)
def test_what_is_like_a_weight_and_not_read_is_refused(name: str, tmp_path: Path) -> None:
    args = {"untie_embeddings_and_output_weights": None}
    edit = at("mp_rank", "model", name, to=FP8)
    assert f"unreadable: {name}" in refused(tmp_path, layout="core", args=args, edit=edit)


def test_tensors_beside_the_model_are_refused(tmp_path: Path) -> None:
    teacher = at("mp_rank", "teacher", to={"weight": torch.ones(3)})
    message = refused(tmp_path, layout="core", edit=teacher)
    assert "extra: teacher.weight (beside the model in mp_rank_00" in message
