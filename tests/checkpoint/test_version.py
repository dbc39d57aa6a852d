"""checkpoint_version and the order of query, key and value rows (formats.md)."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from megaport.checkpoint.open import open_checkpoint
from megaport.checkpoint.version import (
    AmbiguousVersionError,
    UnknownVersionError,
    decide_version,
)
from support.edits import GONE, at
from support.reading import TINY, assert_holds, refused

EARLY_ARGS: dict[str, Any] = {"num_layers": 2, "openai_gelu": False}
WINDOW_ARGS = EARLY_ARGS | {"bias_gelu_fusion": False, "bias_dropout_fusion": False}


@pytest.mark.parametrize(
    ("stated", "order"),
    [(0, "3,np,hn"), (1, "np,hn,3"), (1.0, "np,hn,3"), (2.0, "np,3,hn"), (3.0, "np,3,hn")],
)
def test_a_stated_version_decides(stated: float, order: str) -> None:
    version, decision = decide_version("c", stated, None, WINDOW_ARGS, since_2021=False)
    assert (version, decision.value) == (float(stated), order)


@pytest.mark.parametrize(
    ("stated", "configured"),
    [*((odd, None) for odd in (4.0, -1, "3", True, float("nan"), 1.5, [3])), (None, 5.0)],
)
def test_a_version_nobody_wrote_is_refused(stated: object, configured: float | None) -> None:
    with pytest.raises(UnknownVersionError, match=r"checkpoint\.version"):
        decide_version("c", stated, configured, None, since_2021=False)


@pytest.mark.parametrize("stated", [None, 3.0, 4.0])
def test_the_config_wins_over_the_file_and_says_so(stated: float | None) -> None:
    version, decision = decide_version("c", stated, 1.0, None, since_2021=False)
    assert (version, decision.value) == (1.0, "np,hn,3")
    assert "checkpoint.version" in decision.reason


@pytest.mark.parametrize("args", [None, EARLY_ARGS])
def test_without_version_the_old_names_mean_the_first_order(args: dict[str, Any] | None) -> None:
    version, decision = decide_version("c", None, None, args, since_2021=False)
    assert (version, decision.value) == (None, "3,np,hn")
    assert decision.override == "checkpoint.version"


def test_without_version_and_args_the_window_of_september_2020_is_pointed_out() -> None:
    decision = decide_version("c", None, None, None, since_2021=False)[1]
    assert "BEWARE" in decision.reason
    assert "2020-09-11" in decision.reason


def test_the_unversioned_file_of_the_window_reads_right_with_the_config_key(
    tmp_path: Path,
) -> None:
    forget = at("mp_rank", "checkpoint_version", to=GONE)
    form = {"layout": "transformer", "version": 2, "tp": 2, "edit": forget}
    message = refused(tmp_path, error=AmbiguousVersionError, **form)
    assert "bias_gelu_fusion" in message
    assert "Set checkpoint.version" in message
    assert "set 2)" in message
    assert_holds(open_checkpoint(tmp_path / "c", version=2.0, spool=tmp_path), TINY)


@pytest.mark.parametrize("layout", ["encoder", "core", "torch_dist", "bigscience"])
@pytest.mark.parametrize("version", [0, 1])
def test_an_early_version_beside_later_names_is_refused(
    layout: str, version: int, tmp_path: Path
) -> None:
    message = refused(tmp_path, layout=layout, version=version)
    assert f"checkpoint_version disagrees: {float(version)}" in message


def test_an_early_version_beside_later_args_is_refused(tmp_path: Path) -> None:
    args = {"tensor_model_parallel_size": 1}
    message = refused(tmp_path, layout="transformer", version=1, args=args)
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
    edit = at("mp_rank", "args", to=said)
    message = refused(tmp_path, layout="transformer", version=version, edit=edit)
    assert f"checkpoint_version disagrees: {float(version)} (args" in message
