"""What is wrong with a checkpoint is refused, and the error names it: a row a fault."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.contents import UnknownLayoutError
from megaport.checkpoint.families.chunks import ChunksError
from megaport.checkpoint.families.rank_files import RankFilesError
from megaport.checkpoint.families.torch_dist import DistcpError
from megaport.checkpoint.families.zarr import ZarrError
from megaport.checkpoint.model import CheckpointMismatchError
from megaport.checkpoint.open import open_checkpoint
from megaport.checkpoint.version import AmbiguousVersionError
from megaport.errors import MegaportError
from support.edits import GONE, added, at, renamed, twin
from support.megatron_files import LAYOUTS, save, write_checkpoint
from support.megatron_model import Model
from support.reading import UNSTACKED, changed, refused, without

DOWN = "layers.1.mlp.dense_4h_to_h"
CORE_DOWN = "decoder.layers.1.mlp.linear_fc2"
WORD, POSITION = "embedding.word_embeddings.weight", "embedding.position_embeddings.weight"
NO_SIZES = {"padded_vocab_size": None, "max_position_embeddings": None}


def more(tensor: torch.Tensor) -> torch.Tensor:
    other = tensor.clone()
    other.view(-1)[3] += 1
    return other


def unversioned_with_old_names(name: str, state: dict[str, Any]) -> None:
    state.pop("checkpoint_version", None)
    for key in [key for key in state if key.startswith("self_attention.")]:
        state[key.removeprefix("self_")] = state.pop(key)


def row(
    what: str,
    *said: str,
    error: type[MegaportError] = CheckpointMismatchError,
    model: Model | None = None,
    **form: Any,
):
    """A fault: the form of `write_checkpoint` that has it, and all that the error must say."""
    return pytest.param(error, said, model or Model(), form, id=f"{form['layout']}: {what}")


@pytest.mark.parametrize(
    ("error", "said", "model", "form"),
    [
        # One tensor.
        row(
            "a number in its place",
            f"found \n  wrong shape: {DOWN}.weight ([], expected [16, 64])\n; expected",
            layout="core",
            edit=at("mp_rank", "model", f"{CORE_DOWN}.weight", to=torch.tensor(1.0)),
        ),
        *(
            row(
                f"{short}_embeddings of {how}",
                f"wrong shape: {short}_embeddings.weight",
                layout="core",
                edit=at("mp_rank", "model", key, to=cut),
                args=NO_SIZES,
            )
            for short, key in (("word", WORD), ("position", POSITION))
            for how, cut in (("a number", lambda t: t[0, 0].clone()), ("no rows", lambda t: t[:0]))
        ),
        row(
            "another dtype on one rank",
            "wrong dtype: word_embeddings.weight (F16, F32",
            layout="core",
            tp=2,
            edit=at("mp_rank_01", "model", WORD, to=torch.Tensor.half),
        ),
        row(
            "one of two bytes of the other kind",
            "wrong dtype: float16 beside bfloat16 (F16 27 times, BF16 1 times",
            layout="core",
            model=Model(dtype="F16"),
            edit=at("mp_rank", "model", WORD, to=torch.Tensor.bfloat16),
        ),
        *(
            row(
                "a stack lost",
                *(f"missing: layers.{n}.mlp.dense_4h_to_h.weight" for n in range(3)),
                layout=layout,
                model=Model(layers=3),
                edit=at("entries", "decoder.layers.mlp.linear_fc2.weight", to=GONE),
            )
            for layout in ("torch_dist", "zarr")
        ),
        row(
            "a rank lacks one",
            "missing: layers.1.mlp.dense_h_to_4h.bias (in mp_rank_01",
            layout="core",
            tp=2,
            edit=at("mp_rank_01", "model", "decoder.layers.1.mlp.linear_fc1.bias", to=GONE),
        ),
        # Held more than once.
        row(
            "replicas that differ",
            f"unlike between ranks: {DOWN}.bias",
            layout="core",
            tp=2,
            edit=at("mp_rank_01", "model", f"{CORE_DOWN}.bias", to=more),
        ),
        *(
            row(
                "a tied head that differs",
                "unlike the word embedding it is tied to",
                layout=layout,
                pp=2,
                edit=at("mp_rank_00_001", "model", *head, to=more),
            )
            for layout, head in (
                ("core", ("output_layer.weight",)),
                ("encoder", ("word_embeddings_for_head", "weight")),
            )
        ),
        row(
            "two stages hold it differently",
            "unlike its copy: position_embeddings.weight",
            layout="core",
            pp=2,
            edit=at("mp_rank_00_001", "model", POSITION, to=torch.ones(8, 16)),
        ),
        row(
            "under two names",
            "twice under different names: layers.0.attention.dense.bias",
            "(in mp_rank_00/model_optim_rng.pt)",
            layout="core",
            edit=twin(
                "mp_rank",
                "model",
                "module.decoder.layers.0.self_attention.linear_proj.bias",
                of="decoder.layers.0.self_attention.linear_proj.bias",
            ),
        ),
        row(
            "under two prefixes",
            f"twice under different names: word_embeddings.weight (model.{WORD}",
            f" and model.module.{WORD})",
            layout="torch_dcp",
            edit=twin("entries", f"model.module.{WORD}", of=f"model.{WORD}"),
        ),
        row(
            "stacked and of one layer",
            "twice under different names: layers.0.mlp.dense_4h_to_h.bias",
            layout="torch_dist",
            edit=at("entries", "decoder.layers.0.mlp.linear_fc2.bias", to=[((0,), torch.ones(16))]),
        ),
        row(
            "in two layer files",
            "position_embeddings.weight (again in layer_06-model_00-model_states.pt)",
            layout="bigscience",
            edit=at("layer_06", "position_embeddings.weight", to=torch.ones(8, 16)),
        ),
        row(
            "chunks that overlap",
            WORD,
            error=ChunksError,
            layout="torch_dist",
            tp=2,
            edit=at("entries", WORD, to=lambda held: [held[0], ((8, 0), held[1][1])]),
        ),
        # Args and facts.
        row(
            "args that the tensors contradict",
            "args disagree: hidden_size (64, but 16",
            "args disagree: padded_vocab_size (48, but 32",
            layout="encoder",
            args={"hidden_size": 64, "kv_channels": None, "padded_vocab_size": 48},
        ),
        *(
            row(
                f"{cut[:2]} ranks of two iterations",
                "ranks disagree: iteration (in mp_rank_0",
                ": 8, but 7 in mp_rank_00",
                layout=layout,
                edit=at(file, "iteration", to=8),
                **{cut: 2},
            )
            for layout, cut, file in (
                ("encoder", "tp", "mp_rank_01"),
                ("encoder", "pp", "mp_rank_00_001"),
                ("deepspeedai", "tp", "mp_rank_01"),
            )
        ),
        row(
            "ranks of two versions",
            "checkpoint_version (in mp_rank_01_model_states.pt: 2.0, but 3.0 in mp_rank_00_model",
            layout="deepspeedai",
            tp=2,
            edit=at("mp_rank_01", "checkpoint_version", to=2.0),
        ),
        row(
            "old names and no version",
            "DeepSpeed layer files are from after 2020-09-10",
            error=AmbiguousVersionError,
            layout="deepspeedai",
            with_args=False,
            edit=unversioned_with_old_names,
        ),
        # Stages and layers.
        row(
            "other virtual stages on a rank",
            "mp_rank_00_001/model_optim_rng.pt: found the model under model0, model2; expected "
            "model0, model1. Point at the folder of one save, with all of its files.",
            error=RankFilesError,
            layout="encoder",
            pp=2,
            vp=2,
            model=Model(layers=4),
            edit=renamed("mp_rank_00_001", "model1", "model2"),
        ),
        row(
            "no model on a rank",
            "mp_rank_00_001/model_optim_rng.pt: found the model under no key; expected",
            error=RankFilesError,
            layout="encoder",
            pp=2,
            model=Model(layers=4),
            edit=at("mp_rank_00_001", "model", to=GONE),
        ),
        row(
            "fewer layers than the args say",
            "layer_05-model_00-model_states.pt: found no layer there, 3 in all",
            error=RankFilesError,
            layout="deepspeedai",
            model=Model(layers=3),
            edit=at("mp_rank", "args", "num_layers", to=4),
        ),
        row(
            "every file of a rank lost",
            "layer_01-model_01-model_states.pt: found no such file; expected 2 tensor",
            "Point at the folder of one save, with all of its files.",
            error=RankFilesError,
            layout="bigscience",
            edit=at("mp_rank", "args", "tensor_model_parallel_size", to=2),
        ),
    ],
)
def test_a_fault_in_what_files_hold_is_named(
    error: type[MegaportError], said: tuple[str, ...], model: Model, form: Any, tmp_path: Path
) -> None:
    message = refused(tmp_path, model, error, **form)
    assert [part for part in said if part not in message] == []


def lost(*names: str) -> Callable[[Path], None]:
    def lose(path: Path) -> None:
        for name in names:
            next(path.rglob(name)).unlink()

    return lose


def copied(name: str, to: str) -> Callable[[Path], None]:
    def copy(path: Path) -> None:
        there = path / to
        there.parent.mkdir(exist_ok=True)
        shutil.copy(next(path.rglob(name)), there)

    return copy


RANK, LAYER = "model_optim_rng.pt", "model_00-model_states.pt"


@pytest.mark.parametrize(
    ("form", "change", "error", "match"),
    [
        *(
            ({"layout": layout, "tp": 2, "pp": 2}, lost(f"{name}/{RANK}"), RankFilesError, name)
            for layout, name in (
                ("encoder", "mp_rank_00_001"),
                ("core", "mp_rank_01_000"),
                ("transformer", "mp_rank_01_001"),
            )
        ),
        (
            {"layout": "transformer", "tp": 2, "with_args": False},
            lost(f"mp_rank_01/{RANK}"),
            CheckpointMismatchError,
            "1 of 2 tensor-parallel rank files",
        ),
        *(
            ({"layout": "bigscience", "tp": 2}, lost(f"{name}*"), RankFilesError, name)
            for name in ("layer_03-model_01", "layer_01-model_00")
        ),
        (
            {"layout": "deepspeedai"},
            lost("layer_02-*", "layer_03-*"),
            RankFilesError,
            "layer_01.*: found no file that holds a layer",
        ),
        ({"layout": "torch_dist"}, lost("__0_1.distcp"), DistcpError, "__0_1.distcp"),
        (
            {"layout": "zarr", "tp": 2},
            lost("decoder.layers.mlp.linear_fc1.weight/1.1.0"),
            ZarrError,
            "decoder.layers.mlp.linear_fc1.weight/1.1.0",
        ),
        (
            {"layout": "encoder"},
            copied(RANK, "iter_0000007/mp_rank_00/model_rng.pt"),
            RankFilesError,
            "model_optim_rng.pt and .*model_rng.pt",
        ),
        (
            {"layout": "encoder"},
            copied(RANK, f"iter_0000007/mp_rank_01/{RANK}"),
            RankFilesError,
            "mp_rank_01.*a rank too many",
        ),
        (
            {"layout": "bigscience"},
            copied(f"layer_03-{LAYER}", f"global_step7/layer_003-{LAYER}"),
            RankFilesError,
            "layer_03-.*: found .*layer_003-.* as well; expected one file a module and rank",
        ),
    ],
    ids=lambda value: value["layout"] if isinstance(value, dict) else None,
)
def test_a_file_lost_or_too_many_is_named(
    form: dict[str, Any],
    change: Callable[[Path], None],
    error: type[MegaportError],
    match: str,
    tmp_path: Path,
) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), **form)
    change(path)
    with pytest.raises(error, match=re.sub(r"\.(?!\*)", r"\.", match)):
        open_checkpoint(path, spool=tmp_path)


@pytest.mark.parametrize("layout", UNSTACKED)
def test_all_that_is_wrong_is_in_one_error(layout: str, tmp_path: Path) -> None:
    """In every layout: missing, of each kind of wrong shape, of a wrong dtype, and extra."""
    whole = Model(layers=3).tensors[f"{DOWN}.weight"]
    model = changed(
        word_embeddings__weight=None,
        final_layernorm__bias=None,
        layers__0__input_layernorm__weight=None,
        layers__0__mlp__dense_4h_to_h__weight=whole[None].clone(),
        layers__1__mlp__dense_4h_to_h__weight=whole.T.contiguous(),
        layers__2__mlp__dense_4h_to_h__weight=whole[:-1].clone(),
        layers__2__mlp__dense_h_to_4h__bias=torch.ones(64, dtype=torch.int8),
    )
    message = refused(tmp_path, model, layout=layout, edit=added("adapter.weight"))
    for said in (
        "missing: word_embeddings.weight",
        "missing: final_layernorm.bias",
        "missing: layers.0.input_layernorm.weight",
        "wrong shape: layers.0.mlp.dense_4h_to_h.weight ([1, 16, 64], expected [16, 64])",
        f"wrong shape: {DOWN}.weight ([64, 16], expected [16, 64])",
        "wrong shape: layers.2.mlp.dense_4h_to_h.weight ([15, 64], expected [16, 64])",
        "wrong dtype: layers.2.mlp.dense_h_to_4h.bias (I8",
    ):
        assert said in message


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if "dcp" not in name])
def test_extra_tensor_is_named(layout: str, tmp_path: Path) -> None:
    form = {"layout": layout, "edit": added("adapter.weight")}
    message = refused(tmp_path, Model(layers=3), **form)
    assert "extra: " in message
    assert "adapter.weight" in message


@pytest.mark.parametrize("name", ["word_embeddings.weight", "final_layernorm.bias"])
@pytest.mark.parametrize("layout", ["torch_dist", "zarr"])
def test_missing_tensor_beside_a_stack_is_named(layout: str, name: str, tmp_path: Path) -> None:
    assert f"missing: {name}" in refused(tmp_path, without(name), layout=layout)


@pytest.mark.parametrize("layout", UNSTACKED)
def test_gap_in_layers_is_named(layout: str, tmp_path: Path) -> None:
    error = RankFilesError if layout in ("bigscience", "deepspeedai") else CheckpointMismatchError
    message = refused(tmp_path, without("layers.1."), error, layout=layout)
    assert "layers.1" in message or "layer_0" in message


@pytest.mark.parametrize("layout", ["encoder", "core"])
def test_last_layer_that_is_lost_disagrees_with_the_args(layout: str, tmp_path: Path) -> None:
    message = refused(tmp_path, without("layers.2."), layout=layout)
    assert "num_layers (3, but 2: files hold 2)" in message


@pytest.mark.parametrize("position", [0, 1, 3])
@pytest.mark.parametrize("with_args", [True, False])
@pytest.mark.parametrize(("layout", "first"), [("bigscience", 3), ("deepspeedai", 2)])
def test_deepspeed_layer_file_that_is_lost_is_named(
    layout: str, first: int, with_args: bool, position: int, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "c", Model(layers=4), layout=layout, with_args=with_args)
    name = f"layer_{first + position:02d}-model_00-model_states.pt"
    lost(name)(path)
    with pytest.raises(RankFilesError, match=f"{name}: found no layer there, 3 in all; expected"):
        open_checkpoint(path, spool=tmp_path)


def test_missing_rank_file_is_named_where_one_rank_alone_is_given(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder", tp=2)
    with pytest.raises(RankFilesError, match="mp_rank_01"):
        open_checkpoint(path / "iter_0000007" / "mp_rank_00" / RANK, spool=tmp_path)


def test_rank_files_of_experts_are_refused_as_moe(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="core", pp=2)
    for rank in (path / "iter_0000007").iterdir():
        rank.rename(rank.with_name(f"{rank.name}_000"))
    with pytest.raises(RankFilesError, match="MoE"):
        open_checkpoint(path, spool=tmp_path)


@pytest.mark.parametrize(
    "state",
    [[1, 2], {"model": "gone"}, {"weights": {}}, {"transformer.h.0.ln_1.weight": torch.ones(4)}],
    ids=["list", "no model", "no tensors", "another model"],
)
def test_a_file_of_something_else_is_refused(state: object, tmp_path: Path) -> None:
    save(state, tmp_path / "model.pt")
    with pytest.raises(UnknownLayoutError) as error:
        open_checkpoint(tmp_path / "model.pt", spool=tmp_path)
    assert isinstance(state, list) or "legacy_ranks" in str(error.value)
