"""Content hazards: one thing wrong with a checkpoint, and what the error must name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.contents import UnknownLayoutError
from megaport.checkpoint.families.chunks import ChunksError
from megaport.checkpoint.families.torch_dist import DistcpError
from megaport.checkpoint.families.zarr import ZarrError
from megaport.checkpoint.model import CheckpointMismatchError
from megaport.checkpoint.open import open_checkpoint
from support.megatron_files import LAYOUTS, write_checkpoint
from support.megatron_model import Model
from support.reading import UNSTACKED, changed, refused, without

NAME = "layers.1.mlp.dense_4h_to_h.weight"


@pytest.mark.parametrize("layout", UNSTACKED)
def test_missing_tensor_is_named(layout: str, tmp_path: Path) -> None:
    model = changed(layers__1__mlp__dense_4h_to_h__weight=None)
    assert f"missing: {NAME}" in refused(tmp_path, model, layout=layout)


@pytest.mark.parametrize("layout", ["torch_dist", "zarr"])
def test_missing_tensor_of_a_stack_is_named_for_every_layer(layout: str, tmp_path: Path) -> None:
    def drop(name: str, content: dict[str, Any]) -> None:
        content.pop("decoder.layers.mlp.linear_fc2.weight", None)

    message = refused(tmp_path, Model(layers=3), layout=layout, edit=drop)
    assert all(f"missing: layers.{n}.mlp.dense_4h_to_h.weight" in message for n in range(3))


@pytest.mark.parametrize("name", ["word_embeddings.weight", "final_layernorm.bias"])
@pytest.mark.parametrize("layout", ["encoder", "core", "torch_dist", "zarr", "bigscience"])
def test_missing_tensor_outside_the_layers_is_named(layout: str, name: str, tmp_path: Path) -> None:
    message = refused(tmp_path, without(name), layout=layout)
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


def test_a_number_in_the_place_of_a_tensor_is_named(tmp_path: Path) -> None:
    def shrink(name: str, state: dict[str, Any]) -> None:
        state["model"]["decoder.layers.1.mlp.linear_fc2.weight"] = torch.tensor(1.0)

    message = refused(tmp_path, Model(), layout="core", edit=shrink)
    assert f"wrong shape: {NAME} ([], expected [16, 64])" in message
    assert "missing" not in message


@pytest.mark.parametrize("name", ["word", "position"])
@pytest.mark.parametrize("how", ["a number", "no rows"])
def test_an_embedding_without_rows_is_named(name: str, how: str, tmp_path: Path) -> None:
    def shrink(_: str, state: dict[str, Any]) -> None:
        key = f"embedding.{name}_embeddings.weight"
        whole = state["model"][key]
        state["model"][key] = whole[0, 0].clone() if how == "a number" else whole[:0]

    sizes = {"padded_vocab_size": None, "max_position_embeddings": None}
    message = refused(tmp_path, Model(), layout="core", edit=shrink, args=sizes)
    assert f"wrong shape: {name}_embeddings.weight" in message


@pytest.mark.parametrize("layout", UNSTACKED)
def test_wrong_dtype_is_named(layout: str, tmp_path: Path) -> None:
    odd = Model(layers=3).tensors[NAME].to(torch.int32)
    model = changed(layers__1__mlp__dense_4h_to_h__weight=odd)
    message = refused(tmp_path, model, layout=layout)
    assert f"wrong dtype: {NAME} (I32" in message


def test_wrong_dtype_on_one_rank_is_named(tmp_path: Path) -> None:
    def halve(name: str, state: dict[str, Any]) -> None:
        if name == "mp_rank_01":
            state["model"]["embedding.word_embeddings.weight"] = state["model"][
                "embedding.word_embeddings.weight"
            ].half()

    message = refused(tmp_path, Model(), layout="core", tp=2, edit=halve)
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
    message = refused(tmp_path, model, layout="core", edit=_extra("other.weight"))
    for expected in (
        "missing: layers.0.input_layernorm.weight",
        "wrong shape: layers.1.attention.dense.bias ([7], expected [16])",
        "wrong dtype: layers.2.mlp.dense_h_to_4h.bias (I8",
        "extra: other.weight",
    ):
        assert expected in message


def _changed_replica(name: str, state: dict[str, Any]) -> None:
    if name == "mp_rank_01":
        state["model"]["decoder.layers.1.mlp.linear_fc2.bias"][3] += 1


def test_replicated_tensors_that_differ_between_ranks_are_named(tmp_path: Path) -> None:
    message = refused(tmp_path, Model(), layout="core", tp=2, edit=_changed_replica)
    assert "unlike between ranks: layers.1.mlp.dense_4h_to_h.bias" in message


def _changed_copy(name: str, state: dict[str, Any]) -> None:
    for model in (state["model"],) if name == "mp_rank_00_001" else ():
        copy = model.get("output_layer.weight")
        if copy is None:
            copy = model["word_embeddings_for_head"]["weight"]
        copy[0, 0] += 1


@pytest.mark.parametrize("layout", ["core", "encoder"])
def test_tied_head_of_the_last_stage_that_differs_is_named(layout: str, tmp_path: Path) -> None:
    message = refused(tmp_path, Model(), layout=layout, pp=2, edit=_changed_copy)
    assert "unlike the word embedding it is tied to" in message


def _foreign_embedding(name: str, state: dict[str, Any]) -> None:
    if name == "mp_rank_00_001":
        state["model"]["embedding.position_embeddings.weight"] = torch.ones(8, 16)


def test_tensor_that_two_stages_hold_differently_is_named(tmp_path: Path) -> None:
    message = refused(tmp_path, Model(), layout="core", pp=2, edit=_foreign_embedding)
    assert "unlike its copy: position_embeddings.weight" in message


def test_args_that_the_tensors_contradict_are_named(tmp_path: Path) -> None:
    message = refused(
        tmp_path,
        Model(),
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
    message = refused(tmp_path, Model(), ChunksError, layout="torch_dist", tp=2, edit=_overlapping)
    assert "embedding.word_embeddings.weight" in message


def test_not_a_megatron_checkpoint_says_what_is_read(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.pt"
    torch.save({"transformer.h.0.ln_1.weight": torch.ones(4)}, file)
    with pytest.raises(UnknownLayoutError, match="legacy_ranks"):
        open_checkpoint(file, spool=tmp_path)
