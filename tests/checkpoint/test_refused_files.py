"""Files that a checkpoint lacks, has too many of, or that are of something else, named."""

import shutil
from pathlib import Path

import pytest
import torch

from megaport.checkpoint.contents import UnknownLayoutError
from megaport.checkpoint.families.rank_files import RankFilesError
from megaport.checkpoint.families.torch_dist import DistcpError
from megaport.checkpoint.families.zarr import ZarrError
from megaport.checkpoint.open import open_checkpoint
from support.edits import GONE, RANK, Change, at, copied, lost, renamed
from support.faults import Fault, fault
from support.megatron_files import save, write_checkpoint
from support.megatron_model import Model

ONE_SAVE = "Point at the folder of one save, with all of its files."
FOUR = Model(layers=4)
STATES = "model_00-model_states.pt"
CHUNK = "decoder.layers.mlp.linear_fc1.weight/1.1.0"


def experts(path: Path) -> None:
    for rank in (path / "iter_0000007").iterdir():
        rank.rename(rank.with_name(f"{rank.name}_000"))


RANKS = [
    *(
        fault(
            f"{name} lost",
            name,
            error=RankFilesError,
            layout=layout,
            tp=2,
            pp=2,
            change=lost(f"{name}/{RANK}"),
        )
        for layout, name in (
            ("encoder", "mp_rank_00_001"),
            ("core", "mp_rank_01_000"),
            ("transformer", "mp_rank_01_001"),
        )
    ),
    fault(
        "a rank lost, without args",
        "1 of 2 tensor-parallel rank files",
        layout="transformer",
        tp=2,
        with_args=False,
        change=lost(f"mp_rank_01/{RANK}"),
    ),
    fault(
        "two files of a rank",
        "model_optim_rng.pt and ",
        "model_rng.pt",
        error=RankFilesError,
        layout="encoder",
        change=copied(RANK, "iter_0000007/mp_rank_00/model_rng.pt"),
    ),
    fault(
        "a rank too many",
        "mp_rank_01",
        "a rank too many",
        error=RankFilesError,
        layout="encoder",
        change=copied(RANK, f"iter_0000007/mp_rank_01/{RANK}"),
    ),
    fault(
        "other virtual stages on a rank",
        "mp_rank_00_001/model_optim_rng.pt: found the model under model0, model2; expected "
        f"model0, model1. {ONE_SAVE}",
        error=RankFilesError,
        layout="encoder",
        pp=2,
        vp=2,
        model=FOUR,
        edit=renamed("mp_rank_00_001", "model1", "model2"),
    ),
    fault(
        "no model on a rank",
        "mp_rank_00_001/model_optim_rng.pt: found the model under no key; expected",
        error=RankFilesError,
        layout="encoder",
        pp=2,
        model=FOUR,
        edit=at("mp_rank_00_001", "model", to=GONE),
    ),
    fault("ranks of experts", "MoE", error=RankFilesError, layout="core", pp=2, change=experts),
]
LAYERS = [
    *(
        fault(
            f"{name} lost",
            name,
            error=RankFilesError,
            layout="bigscience",
            tp=2,
            change=lost(f"{name}*"),
        )
        for name in ("layer_03-model_01", "layer_01-model_00")
    ),
    *(
        fault(
            f"{name} lost, {args}",
            f"{name}-{STATES}: found no layer there, 3 in all; expected",
            error=RankFilesError,
            layout=layout,
            model=FOUR,
            with_args=args == "with args",
            change=lost(f"{name}-{STATES}"),
        )
        for layout, first in (("bigscience", 3), ("deepspeedai", 2))
        for args in ("with args", "without")
        for name in (f"layer_{first + position:02d}" for position in (0, 1, 3))
    ),
    fault(
        "every layer lost",
        "layer_01",
        ": found no file that holds a layer",
        error=RankFilesError,
        layout="deepspeedai",
        change=lost("layer_02-*", "layer_03-*"),
    ),
    fault(
        "two files of a layer",
        "layer_03-",
        ": found ",
        f"layer_003-{STATES} as well; expected one file a module and rank",
        error=RankFilesError,
        layout="bigscience",
        change=copied(f"layer_03-{STATES}", f"global_step7/layer_003-{STATES}"),
    ),
    fault(
        "fewer layers than the args say",
        f"layer_05-{STATES}: found no layer there, 3 in all",
        error=RankFilesError,
        layout="deepspeedai",
        model=Model(layers=3),
        edit=at("mp_rank", "args", "num_layers", to=4),
    ),
    fault(
        "every file of a rank lost",
        "layer_01-model_01-model_states.pt: found no such file; expected 2 tensor",
        ONE_SAVE,
        error=RankFilesError,
        layout="bigscience",
        edit=at("mp_rank", "args", "tensor_model_parallel_size", to=2),
    ),
]
CHUNKS = [
    fault(
        "a file lost",
        "__0_1.distcp",
        error=DistcpError,
        layout="torch_dist",
        change=lost("__0_1.distcp"),
    ),
    fault("a chunk lost", CHUNK, error=ZarrError, layout="zarr", tp=2, change=lost(CHUNK)),
]


def saved_again(layout: str) -> Change:
    """Beside the checkpoint's files lie those of another, in another layout."""

    def save_again(path: Path) -> None:
        other = write_checkpoint(path.parent / "other", Model(seed=2), layout=layout)
        shutil.copytree(next(other.glob("*/")), next(path.glob("*/")), dirs_exist_ok=True)

    return save_again


NORM = "decoder.final_layernorm.bias/.zarray"
LAYER = f"layer_01-{STATES}"
SAVES = [
    *(
        fault(
            f"{second} saved later",
            f"found files of more than one save: {marks}; expected the files of one save. Move",
            error=UnknownLayoutError,
            layout=first,
            change=saved_again(second),
        )
        for one, other, marks in (
            ("zarr", "torch_dist", f".metadata, {NORM}"),
            ("zarr", "core", f"{NORM}, mp_rank_00/{RANK}"),
            ("torch_dist", "encoder", f".metadata, mp_rank_00/{RANK}"),
            ("bigscience", "encoder", f"{LAYER}, mp_rank_00/{RANK}"),
            ("bigscience", "torch_dcp", f".metadata, {LAYER}"),
        )
        for first, second in ((one, other), (other, one))
    ),
    *(
        fault(
            f"{name} beside it",
            f"found files of more than one save: .metadata, {name};",
            error=UnknownLayoutError,
            layout="torch_dist",
            change=copied("common.pt", f"iter_0000007/{name}"),
        )
        for name in ("tp_rank_00_pp_rank_000/model.ckpt", "mp_rank_00_model_states.pt")
    ),
    fault(
        "torch_dcp saved later",
        "twice: args (in common.pt and in .metadata, of two saves)",
        layout="torch_dist",
        change=saved_again("torch_dcp"),
    ),
]


@pytest.mark.parametrize("wrong", [*RANKS, *LAYERS, *CHUNKS, *SAVES])
def test_a_file_lost_or_too_many_is_named(wrong: Fault, tmp_path: Path) -> None:
    wrong.assert_named(tmp_path)


def test_missing_rank_file_is_named_where_one_rank_alone_is_given(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="encoder", tp=2)
    with pytest.raises(RankFilesError, match="mp_rank_01"):
        open_checkpoint(path / "iter_0000007" / "mp_rank_00" / RANK, spool=tmp_path)


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
