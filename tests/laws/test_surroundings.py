"""Rows "any umask, HOME unset, ..." and "same input, other path, time, locale, worker count".

Everything deterministic that the workflow makes, text and plots included; not `benchmark`, which
is an observation, nor the report that shows it.
"""

from pathlib import Path

import pytest

from support import checkout as shell
from support.checkout import PRETENDING, checkout, content
from support.samples import slow

LATER = {"PYTHONPATH": str(PRETENDING), "PRETEND": "later"}
SPARSE = {"HOME": None, "LANG": "C", "LC_ALL": "C", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7"}


def started(folder: Path) -> list[str]:
    """When Snakemake thinks that its runs in a folder began."""
    return sorted(path.name for path in (folder / ".snakemake" / "log").glob("*.log"))


@pytest.mark.slow
@pytest.mark.parametrize("targets", [("pytorch_bin", "generate", "export"), ("parity",)])
def test_same_bytes_at_another_path_time_and_locale_with_more_workers(
    snakemake, built, tmp_path, targets
):
    assert snakemake(built, *targets).computed == set(targets)
    odd = checkout(tmp_path / "a näme with späces" / "it's", built)
    ran = shell.snakemake(odd, *targets, "-c2", umask=0o077, OMP_NUM_THREADS="2", **SPARSE, **LATER)
    assert ran.computed >= {"convert", *targets}, ran.text
    assert started(odd)[0][:4] > started(built)[-1][:4], "it was not later"
    here, there = content(built), content(odd)
    assert sorted(here) == sorted(there)
    assert [name for name in here if here[name] != there[name]] == []


@pytest.mark.parametrize("surroundings", [(0o000, "tr_TR.UTF-8"), slow((0o027, "ja_JP.SJIS"))])
def test_same_bytes_with_any_umask_locale_time_zone_and_hash_seed(pristine, tmp_path, surroundings):
    umask, locale = surroundings
    folder = checkout(tmp_path / "one", pristine)
    ran = shell.snakemake(
        folder, "assemble", umask=umask, LC_ALL=locale, TZ="America/St_Johns", PYTHONHASHSEED="0"
    )
    assert "convert" in ran.computed, ran.text
    assert content(folder) == content(pristine)
