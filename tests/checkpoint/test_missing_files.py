"""Missing rank files, ranks of different iterations, gaps in layers: refused, naming the file."""

from pathlib import Path
from typing import Any

import pytest

from megaport.checkpoint.families.rank_files import RankFilesError
from megaport.checkpoint.model import CheckpointMismatchError
from megaport.checkpoint.open import open_checkpoint
from support.megatron_files import CORE, LEGACY, write_checkpoint
from support.megatron_model import Model
from support.reading import UNSTACKED, refused, without

RANKED = (*LEGACY, *CORE)


@pytest.mark.parametrize("layout", UNSTACKED)
def test_gap_in_layers_is_named(layout: str, tmp_path: Path) -> None:
    expected = RankFilesError if layout in ("bigscience", "deepspeedai") else None
    message = refused(
        tmp_path, without("layers.1."), expected or CheckpointMismatchError, layout=layout
    )
    assert "layers.1" in message or "layer_0" in message


@pytest.mark.parametrize("lost", [0, 1, 3])
@pytest.mark.parametrize("with_args", [True, False])
@pytest.mark.parametrize(("layout", "first"), [("bigscience", 3), ("deepspeedai", 2)])
def test_deepspeed_layer_file_that_is_lost_is_named(
    layout: str, first: int, with_args: bool, lost: int, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "c", Model(layers=4), layout=layout, with_args=with_args)
    name = f"layer_{first + lost:02d}-model_00-model_states.pt"
    next(path.rglob(name)).unlink()
    with pytest.raises(RankFilesError, match=f"{name}: found no layer there, 3 in all; expected"):
        open_checkpoint(path, spool=tmp_path)


def _four_layers(name: str, state: dict[str, Any]) -> None:
    if name.startswith("mp_rank"):
        state["args"].num_layers = 4


def test_deepspeed_layers_that_show_no_gap_disagree_with_the_args(tmp_path: Path) -> None:
    message = refused(
        tmp_path, Model(layers=3), RankFilesError, layout="deepspeedai", edit=_four_layers
    )
    assert "layer_05-model_00-model_states.pt: found no layer there, 3 in all" in message


def test_deepspeed_files_without_a_layer_are_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(layers=1), layout="deepspeedai")
    next(path.rglob("layer_02-*")).unlink()
    with pytest.raises(RankFilesError, match=r"layer_01.*: found no file that holds a layer"):
        open_checkpoint(path, spool=tmp_path)


def _two_ranks(name: str, state: dict[str, Any]) -> None:
    if name.startswith("mp_rank"):
        state["args"].tensor_model_parallel_size = 2


def test_a_deepspeed_rank_of_which_every_file_is_lost_is_named(tmp_path: Path) -> None:
    message = refused(tmp_path, Model(), RankFilesError, layout="bigscience", edit=_two_ranks)
    assert "layer_01-model_01-model_states.pt: found no such file; expected 2 tensor" in message
    assert message.endswith("Point at the folder of one save, with all of its files.")


@pytest.mark.parametrize("layout", RANKED)
def test_last_layer_that_is_lost_disagrees_with_the_args(layout: str, tmp_path: Path) -> None:
    message = refused(tmp_path, without("layers.2."), layout=layout)
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
    message = refused(tmp_path, Model(), layout="encoder", edit=_later, **form)
    assert "ranks disagree: iteration (in mp_rank_0" in message
    assert ": 8, but 7 in mp_rank_00" in message


def test_deepspeed_ranks_of_different_iterations_are_named(tmp_path: Path) -> None:
    form = {"layout": "deepspeedai", "tp": 2, "edit": _later}
    message = refused(tmp_path, Model(), **form)
    assert "iteration (in mp_rank_01_model_states.pt: 8, but 7 in" in message


def test_rank_files_of_experts_are_refused_as_moe(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="core", pp=2)
    for rank in (path / "iter_0000007").iterdir():
        rank.rename(rank.with_name(f"{rank.name}_000"))
    with pytest.raises(RankFilesError, match="MoE"):
        open_checkpoint(path, spool=tmp_path)
