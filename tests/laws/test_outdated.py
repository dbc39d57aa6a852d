"""What Snakemake does not see: other shapes, a lost memory, times set anew; and what shapes leave.

Each left results of an earlier configuration standing once.
"""

import os
import shutil

import pytest

from support import checkout as shell
from support.checkout import MODEL, checkout, content
from support.samples import slow

SHARDED = {"max_shard_size": 10_000_000}


def configured(folder, settings: dict) -> list[str]:
    """Of the one model, but for `export`, which is no part of one."""
    model = {name: value for name, value in settings.items() if name != "export"}
    told = {"models": {"austen-tiny": model}, "export": settings.get("export", {})}
    return shell.configured(folder, told)


@pytest.fixture
def clean(snakemake, pristine, tmp_path):
    """What a build from nothing gives for some settings, on the store of `pristine`."""

    def build(settings: dict, target: str = "assemble") -> dict[str, bytes]:
        folder = checkout(tmp_path / "clean", pristine)
        shutil.copytree(pristine / ".store", folder / ".store")
        ran = snakemake(folder, target, *configured(folder, settings))
        assert ran.status == 0, ran.text
        return content(folder)

    return build


@pytest.mark.parametrize(
    "settings",
    [slow(SHARDED), slow({"tokenizer": None}), {"tokenizer": None} | SHARDED],
    ids=["sharded", "bare", "bare and sharded"],
)
def test_another_shape_and_back(snakemake, built, clean, settings):
    before = content(built)
    ran = snakemake(built, "assemble", *configured(built, settings))
    assert "assemble" in ran.computed, ran.text
    assert content(built) == clean(settings)
    back = snakemake(built, "assemble")
    assert (back.status, back.computed) == (0, set()), back.text
    assert content(built) == before


def test_a_change_after_snakemake_lost_its_memory(snakemake, built, clean):
    shutil.rmtree(built / ".snakemake")
    ran = snakemake(built, "assemble", *configured(built, {"dtype": "float32"}))
    assert ran.computed == {"convert", "assemble"}, ran.text
    assert content(built) == clean({"dtype": "float32"})


def test_times_that_hide_a_change(snakemake, built, clean):
    float32 = configured(built, {"dtype": "float32"})
    assert snakemake(built, "convert", *float32).computed == {"convert"}
    for path in (built / MODEL).rglob("*"):
        os.utime(path, (1e9, 1e9), follow_symlinks=False)
    ran = snakemake(built, "assemble", *float32)
    assert ran.computed == {"assemble"}, ran.text
    assert content(built) == clean({"dtype": "float32"})


def test_a_damaged_file_asked_for_by_name(snakemake, built):
    """Snakemake sees that it exists, and nothing else."""
    before = content(built)
    os.truncate(built / MODEL / "model/vocab.json", 9)
    ran = snakemake(built, str(MODEL / "model/vocab.json"))
    assert (ran.status, ran.hits, ran.computed) == (0, {"assemble"}, set()), ran.text
    assert content(built) == before


def test_a_receipt_in_the_middle_comes_back(snakemake, built):
    before = content(built)
    (built / MODEL / "download.json").unlink()
    ran = snakemake(built, "assemble")
    assert (ran.status, ran.computed) == (0, set()), ran.text
    assert content(built) == before


@pytest.mark.slow
def test_an_export_leaves_nothing_of_another_form(snakemake, built, clean):
    two = {"export": {"form": "v3", "tensor_parallel": 2}}
    one = {"export": {"form": "v3", "tensor_parallel": 1}}
    for settings in (two, one):
        ran = snakemake(built, "export", *configured(built, settings))
        assert ran.computed == {"export"}, ran.text
    assert content(built) == clean(one, "export")
    assert [
        p for p in (built / MODEL / "export").rglob("*") if p.is_dir() and not any(p.iterdir())
    ] == []


@pytest.mark.slow
def test_an_export_has_nothing_of_the_tokenizer(snakemake, built):
    before = snakemake(built, "export")
    ran = snakemake(built, "export", *configured(built, {"tokenizer": None}))
    assert (before.computed, ran.computed, ran.hits) == (
        {"export"},
        {"inspect", "assemble"},
        {"convert", "export"},
    )
