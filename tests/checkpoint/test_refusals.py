"""Content hazards: one thing wrong with a checkpoint, and what the error must name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.accounting import CheckpointMismatchError
from megaport.checkpoint.contents import UnknownLayoutError
from megaport.checkpoint.distcp import DistcpError
from megaport.checkpoint.features import NotGPT2Error
from megaport.checkpoint.open import open_checkpoint
from megaport.checkpoint.pieces import PiecesError
from megaport.checkpoint.ranks import RankFilesError
from megaport.checkpoint.zarr import ZarrError
from megaport.errors import MegaportError
from support.megatron_files import CORE, LAYOUTS, LEGACY, write_checkpoint
from support.megatron_model import Model

NAME = "layers.1.mlp.dense_4h_to_h.weight"
RANKED = (*LEGACY, *CORE)


def refused(tmp_path: Path, model: Model, error: type[MegaportError], **form: Any) -> str:
    path = write_checkpoint(tmp_path / "checkpoint", model, **form)
    with pytest.raises(error) as caught:
        open_checkpoint(path, spool=tmp_path / "spool")
    return str(caught.value)


def changed(**tensors: torch.Tensor | None) -> Model:
    """A model whose tensors of these canonical names (`__` for `.`) are replaced or removed."""
    model = Model(layers=3)
    names = dict(model.tensors)
    for key, tensor in tensors.items():
        name = key.replace("__", ".")
        if tensor is None:
            del names[name]
        else:
            names[name] = tensor
    object.__setattr__(model, "tensors", names)
    return model


def without(prefix: str) -> Model:
    model = Model(layers=3)
    names = {name: t for name, t in model.tensors.items() if not name.startswith(prefix)}
    object.__setattr__(model, "tensors", names)
    return model


# Layouts whose layers are stacked hold a tensor of all layers or of none.
UNSTACKED = [name for name in LAYOUTS if name not in ("torch_dist", "zarr")]


@pytest.mark.parametrize("layout", UNSTACKED)
def test_missing_tensor_is_named(layout: str, tmp_path: Path) -> None:
    model = changed(layers__1__mlp__dense_4h_to_h__weight=None)
    assert f"missing: {NAME}" in refused(tmp_path, model, CheckpointMismatchError, layout=layout)


@pytest.mark.parametrize("layout", ["torch_dist", "zarr"])
def test_missing_tensor_of_a_stack_is_named_for_every_layer(layout: str, tmp_path: Path) -> None:
    def drop(name: str, content: dict[str, Any]) -> None:
        content.pop("decoder.layers.mlp.linear_fc2.weight", None)

    message = refused(tmp_path, Model(layers=3), CheckpointMismatchError, layout=layout, edit=drop)
    assert all(f"missing: layers.{n}.mlp.dense_4h_to_h.weight" in message for n in range(3))


@pytest.mark.parametrize("name", ["word_embeddings.weight", "final_layernorm.bias"])
@pytest.mark.parametrize("layout", ["encoder", "core", "torch_dist", "zarr", "bigscience"])
def test_missing_tensor_outside_the_layers_is_named(layout: str, name: str, tmp_path: Path) -> None:
    message = refused(tmp_path, without(name), CheckpointMismatchError, layout=layout)
    assert f"missing: {name}" in message


@pytest.mark.parametrize("layout", UNSTACKED)
@pytest.mark.parametrize("how", ["a row short", "transposed", "a dimension more"])
def test_wrong_shape_is_named_with_both_shapes(layout: str, how: str, tmp_path: Path) -> None:
    whole = Model(layers=3).tensors[NAME]
    odd = {
        "a row short": whole[:-1],
        "transposed": whole.T.contiguous(),
        "a dimension more": whole[None],
    }[how]
    message = refused(
        tmp_path,
        changed(layers__1__mlp__dense_4h_to_h__weight=odd.clone()),
        CheckpointMismatchError,
        layout=layout,
    )
    assert f"wrong shape: {NAME}" in message
    assert f"{list(odd.shape)}, expected {list(whole.shape)}" in message


@pytest.mark.parametrize("layout", UNSTACKED)
def test_wrong_dtype_is_named(layout: str, tmp_path: Path) -> None:
    odd = Model(layers=3).tensors[NAME].to(torch.int32)
    model = changed(layers__1__mlp__dense_4h_to_h__weight=odd)
    message = refused(tmp_path, model, CheckpointMismatchError, layout=layout)
    assert f"wrong dtype: {NAME} (I32" in message


def test_wrong_dtype_on_one_rank_is_named(tmp_path: Path) -> None:
    def halve(name: str, state: dict[str, Any]) -> None:
        if name == "mp_rank_01":
            state["model"]["embedding.word_embeddings.weight"] = state["model"][
                "embedding.word_embeddings.weight"
            ].half()

    message = refused(tmp_path, Model(), CheckpointMismatchError, layout="core", tp=2, edit=halve)
    assert "wrong dtype: word_embeddings.weight (F16, F32" in message


def _extra(key: str) -> Callable[[str, dict[str, Any]], None]:
    def add(name: str, content: dict[str, Any]) -> None:
        if name == "entries":
            content[key] = [((0,), torch.ones(3))]
        elif "model" in content and isinstance(content["model"], dict):
            content["model"][key] = torch.ones(3)
        elif name.startswith("layer_03"):
            content[key] = torch.ones(3)

    return add


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if "dcp" not in name])
def test_extra_tensor_is_named(layout: str, tmp_path: Path) -> None:
    message = refused(
        tmp_path,
        Model(layers=3),
        CheckpointMismatchError,
        layout=layout,
        edit=_extra("adapter.weight"),
    )
    assert "extra: " in message
    assert "adapter.weight" in message


def test_all_that_is_wrong_is_in_one_error(tmp_path: Path) -> None:
    model = changed(
        layers__0__input_layernorm__weight=None,
        layers__1__attention__dense__bias=torch.ones(7),
        layers__2__mlp__dense_h_to_4h__bias=torch.ones(64, dtype=torch.int8),
    )
    message = refused(
        tmp_path, model, CheckpointMismatchError, layout="core", edit=_extra("other.weight")
    )
    for expected in (
        "missing: layers.0.input_layernorm.weight",
        "wrong shape: layers.1.attention.dense.bias ([7], expected [16])",
        "wrong dtype: layers.2.mlp.dense_h_to_4h.bias (I8",
        "extra: other.weight",
    ):
        assert expected in message


@pytest.mark.parametrize("layout", UNSTACKED)
def test_gap_in_layers_is_named(layout: str, tmp_path: Path) -> None:
    expected = RankFilesError if layout in ("bigscience", "deepspeedai") else None
    message = refused(
        tmp_path, without("layers.1."), expected or CheckpointMismatchError, layout=layout
    )
    assert "layers.1" in message or "layer_0" in message


@pytest.mark.parametrize("lost", [0, 2])
@pytest.mark.parametrize("with_args", [True, False])
@pytest.mark.parametrize("layout", ["bigscience", "deepspeedai"])
def test_deepspeed_layer_file_that_is_lost_at_an_end_is_noticed(
    layout: str, with_args: bool, lost: int, tmp_path: Path
) -> None:
    message = refused(
        tmp_path, without(f"layers.{lost}."), RankFilesError, layout=layout, with_args=with_args
    )
    assert "layer_" in message


@pytest.mark.parametrize("layout", RANKED)
def test_last_layer_that_is_lost_disagrees_with_the_args(layout: str, tmp_path: Path) -> None:
    message = refused(tmp_path, without("layers.2."), CheckpointMismatchError, layout=layout)
    assert "num_layers (3, but 2: files hold 2)" in message


@pytest.mark.parametrize("layout", RANKED)
@pytest.mark.parametrize("lost", [(0, 1), (1, 0), (1, 1)])
def test_missing_rank_file_is_named(layout: str, lost: tuple[int, int], tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(layers=4), layout=layout, tp=2, pp=2)
    name = f"mp_rank_{lost[0]:02d}_{lost[1]:03d}/model_optim_rng.pt"
    (path / "iter_0000007" / name).unlink()
    with pytest.raises(RankFilesError, match=name):
        open_checkpoint(path, spool=tmp_path)


def test_missing_rank_file_is_named_where_one_rank_alone_is_given(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder", tp=2)
    with pytest.raises(RankFilesError, match="mp_rank_01"):
        open_checkpoint(path / "iter_0000007" / "mp_rank_00" / "model_optim_rng.pt", spool=tmp_path)


def test_missing_rank_without_args_shows_in_the_shapes(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="transformer", tp=2, with_args=False)
    (path / "iter_0000007" / "mp_rank_01" / "model_optim_rng.pt").unlink()
    with pytest.raises(CheckpointMismatchError, match="1 of 2 tensor-parallel rank files"):
        open_checkpoint(path, spool=tmp_path)


@pytest.mark.parametrize("lost", ["layer_03-model_01", "layer_01-model_00"])
def test_missing_deepspeed_rank_file_is_named(lost: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="bigscience", tp=2)
    next(path.rglob(f"{lost}*")).unlink()
    with pytest.raises(RankFilesError, match=lost):
        open_checkpoint(path, spool=tmp_path)


def _later(name: str, state: dict[str, Any]) -> None:
    if name.startswith(("mp_rank_01", "mp_rank_00_001")):
        state["iteration"] = 8


@pytest.mark.parametrize("form", [{"tp": 2}, {"pp": 2}])
def test_ranks_of_different_iterations_are_named(form: dict[str, int], tmp_path: Path) -> None:
    message = refused(tmp_path, Model(), RankFilesError, layout="encoder", edit=_later, **form)
    assert "mp_rank_0" in message
    assert "iteration 8" in message


def test_deepspeed_ranks_of_different_iterations_are_named(tmp_path: Path) -> None:
    message = refused(tmp_path, Model(), RankFilesError, layout="deepspeedai", tp=2, edit=_later)
    assert "mp_rank_01_model_states.pt: found iteration 8" in message


def _changed_replica(name: str, state: dict[str, Any]) -> None:
    if name == "mp_rank_01":
        state["model"]["decoder.layers.1.mlp.linear_fc2.bias"][3] += 1


def test_replicated_tensors_that_differ_between_ranks_are_named(tmp_path: Path) -> None:
    message = refused(
        tmp_path, Model(), CheckpointMismatchError, layout="core", tp=2, edit=_changed_replica
    )
    assert "unlike between ranks: layers.1.mlp.dense_4h_to_h.bias" in message


def _changed_copy(name: str, state: dict[str, Any]) -> None:
    for model in (state["model"],) if name == "mp_rank_00_001" else ():
        copy = model.get("output_layer.weight")
        if copy is None:
            copy = model["word_embeddings_for_head"]["weight"]
        copy[0, 0] += 1


@pytest.mark.parametrize("layout", ["core", "encoder"])
def test_tied_head_of_the_last_stage_that_differs_is_named(layout: str, tmp_path: Path) -> None:
    message = refused(
        tmp_path, Model(), CheckpointMismatchError, layout=layout, pp=2, edit=_changed_copy
    )
    assert "unlike the word embedding it is tied to" in message


def _foreign_embedding(name: str, state: dict[str, Any]) -> None:
    if name == "mp_rank_00_001":
        state["model"]["embedding.position_embeddings.weight"] = torch.ones(8, 16)


def test_tensor_that_two_stages_hold_differently_is_named(tmp_path: Path) -> None:
    message = refused(
        tmp_path, Model(), CheckpointMismatchError, layout="core", pp=2, edit=_foreign_embedding
    )
    assert "unlike its copy: position_embeddings.weight" in message


def test_rank_files_of_experts_are_refused_as_moe(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="core", pp=2)
    for rank in (path / "iter_0000007").iterdir():
        rank.rename(rank.with_name(f"{rank.name}_000"))
    with pytest.raises(RankFilesError, match="MoE"):
        open_checkpoint(path, spool=tmp_path)


def test_args_that_the_tensors_contradict_are_named(tmp_path: Path) -> None:
    message = refused(
        tmp_path,
        Model(),
        CheckpointMismatchError,
        layout="encoder",
        args={"hidden_size": 64, "kv_channels": None, "padded_vocab_size": 48},
    )
    assert "args disagree: hidden_size (64, but 16" in message
    assert "args disagree: padded_vocab_size (48, but 32" in message


def test_distcp_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="torch_dist")
    (path / "iter_0000007" / "__0_1.distcp").unlink()
    with pytest.raises(DistcpError, match=r"__0_1\.distcp"):
        open_checkpoint(path, spool=tmp_path)


def test_zarr_chunk_that_is_missing_is_named(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="zarr", tp=2)
    chunk = "decoder.layers.mlp.linear_fc1.weight/1.1.0"
    (path / "iter_0000007" / chunk).unlink()
    with pytest.raises(ZarrError, match=chunk):
        open_checkpoint(path, spool=tmp_path)


def _overlapping(name: str, content: dict[str, Any]) -> None:
    if name == "entries":
        key = "embedding.word_embeddings.weight"
        (at, piece), (_, second) = content[key]
        content[key] = [(at, piece), ((8, 0), second)]


def test_chunks_that_overlap_are_refused_by_key(tmp_path: Path) -> None:
    message = refused(tmp_path, Model(), PiecesError, layout="torch_dist", tp=2, edit=_overlapping)
    assert "embedding.word_embeddings.weight" in message


def test_not_a_megatron_checkpoint_says_what_is_read(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.pt"
    torch.save({"transformer.h.0.ln_1.weight": torch.ones(4)}, file)
    with pytest.raises(UnknownLayoutError, match="legacy_ranks"):
        open_checkpoint(file, spool=tmp_path)


FEATURES = [
    ({"position_embedding_type": "rope"}, "rotary position embeddings"),
    ({"use_rotary_position_embeddings": True}, "rotary position embeddings"),
    ({"position_embedding_type": "none"}, "no learned absolute position"),
    ({"normalization": "RMSNorm"}, "RMSNorm"),
    ({"swiglu": True}, "SwiGLU"),
    ({"add_bias_linear": False}, "linear layers without biases"),
    ({"group_query_attention": True, "num_query_groups": 2}, "GQA/MQA"),
    ({"apply_residual_connection_post_layernorm": True}, "post-LayerNorm residual"),
    ({"num_experts": 8}, "MoE"),
    ({"kv_channels": 8}, "attention heads unlike"),
    ({"qk_layernorm": True}, "LayerNorm on queries and keys"),
    ({"num_unique_layers": 1}, "layers that share parameters"),
]


@pytest.mark.parametrize(("args", "feature"), FEATURES, ids=lambda value: str(value)[:50])
@pytest.mark.parametrize("layout", ["encoder", "core", "torch_dist", "bigscience"])
def test_not_gpt2_is_refused_by_feature_from_args(
    layout: str, args: dict[str, Any], feature: str, tmp_path: Path
) -> None:
    message = refused(tmp_path, Model(), NotGPT2Error, layout=layout, args=args)
    assert feature in message
    assert any(argument in message for argument in args)


ORDINARY = [
    {"num_query_groups": 1, "group_query_attention": False},
    {"apply_query_key_layer_scaling": True, "add_qkv_bias": False},
    {"num_experts": [1], "rotary_percent": 1.0, "kv_channels": 4},
    {"normalization": "LayerNorm", "position_embedding_type": "learned_absolute"},
    {"vocab_size": None, "untie_embeddings_and_output_weights": None},
]


@pytest.mark.parametrize("args", ORDINARY, ids=str)
def test_ordinary_args_are_no_false_alarm(args: dict[str, Any], tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder", args=args)
    assert open_checkpoint(path, spool=tmp_path).layers == 2


TENSOR_FEATURES = [
    ("language_model.embedding.tokentype_embeddings.weight", "BERT"),
    ("lm_head.dense.weight", "BERT"),
    ("language_model.pooler.dense.weight", "BERT"),
    ("language_model.decoder.layers.0.inter_attention.dense.weight", "T5"),
    ("language_model.encoder.layers.0.mlp.local_experts.0.dense.weight", "MoE"),
    ("language_model.encoder.layers.0.self_attention.rotary_emb.inv_freq", "rotary"),
    ("language_model.embedding.word_embeddings.norm.weight", "LayerNorm on the embedding"),
]


@pytest.mark.parametrize(("name", "feature"), TENSOR_FEATURES)
def test_not_gpt2_is_refused_by_feature_from_tensors(
    name: str, feature: str, tmp_path: Path
) -> None:
    def add(_: str, state: dict[str, Any]) -> None:
        state["model"][name] = torch.ones(3)

    message = refused(tmp_path, Model(), NotGPT2Error, layout="encoder", edit=add, with_args=False)
    assert feature in message
    assert name in message


def shaped(**shapes: tuple[int, ...] | None) -> Model:
    """A model whose leaves (`__` for `.`) have other shapes, or are gone, in every layer."""
    model = Model()
    names = dict(model.tensors)
    for key, shape in shapes.items():
        for name in [n for n in names if n.endswith(key.replace("__", "."))]:
            if shape is None:
                del names[name]
            else:
                names[name] = torch.ones(shape)
    object.__setattr__(model, "tensors", names)
    return model


SHAPE_FEATURES = [
    (shaped(mlp__dense_h_to_4h__weight=(128, 16), mlp__dense_h_to_4h__bias=(128,)), "SwiGLU"),
    (shaped(attention__dense__bias=None, mlp__dense_h_to_4h__bias=None,
            mlp__dense_4h_to_h__bias=None, query_key_value__bias=None), "without biases"),
    (shaped(layernorm__bias=None), "RMSNorm"),
    (shaped(position_embeddings__weight=None), "position"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "feature"), SHAPE_FEATURES, ids=lambda v: str(v)[:15])
@pytest.mark.parametrize("layout", ["transformer", "core", "torch_dist", "deepspeedai"])
def test_not_gpt2_is_refused_by_feature_from_shapes(
    layout: str, model: Model, feature: str, tmp_path: Path
) -> None:
    message = refused(tmp_path, model, MegaportError, layout=layout)
    assert feature in message


def test_grouped_queries_are_refused_without_args(tmp_path: Path) -> None:
    def group(name: str, state: dict[str, Any]) -> None:
        for key, tensor in state["model"].items():
            if "linear_qkv" in key and tensor is not None:
                state["model"][key] = tensor[:32].clone()

    message = refused(tmp_path, Model(), NotGPT2Error, layout="core", edit=group, with_args=False)
    assert "GQA/MQA" in message
