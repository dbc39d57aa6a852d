"""The workflow as a part of somebody else's: `module:` with names and a prefix, and `include:`."""

import shutil
from pathlib import Path

import pytest

from support.checkout import CHAIN, checkout
from support.samples import slow

MODEL = "austen-tiny"
MODULE = """
module megaport:
    snakefile: "../there/Snakefile"
    config: config
    {prefix}

use rule * from megaport as mp_*

rule mine:
    input: "early.txt", "late.txt"
    output: "mine.txt"
    shell: "cat {{input}} > {{output}}"

rule early:
    input: "{results}/{model}/convert.json"
    output: "early.txt"
    shell: "cp {{input}} {{output}}"

rule late:
    input: "{results}/{model}/assemble.json"
    output: "late.txt"
    shell: "cp {{input}} {{output}}"
"""


def module(folder: Path, prefix: str = "") -> Path:
    here = folder / "here"
    here.mkdir()
    said = f'prefix: "{prefix}"' if prefix else ""
    results = f"{prefix}/results" if prefix else "results"
    text = MODULE.format(prefix=said, results=results, model=MODEL)
    (here / "Snakefile").write_text(text)
    return here


@pytest.fixture
def there(tmp_path):
    return checkout(tmp_path / "there")


@pytest.mark.parametrize("prefix", [slow(""), "part"], ids=["no prefix", "a prefix"])
def test_a_module_runs_is_restored_and_forced(snakemake, there, tmp_path, prefix):
    here = module(tmp_path, prefix)
    results = here / prefix / "results"
    first = snakemake(here, "mine")
    assert (first.status, first.computed) == (0, CHAIN), first.text
    assert (results / MODEL / "model/model.safetensors").is_file()
    assert not (there / "results").exists() and not (there / ".store").exists()
    assert snakemake(here, "mine").nothing
    shutil.rmtree(results)
    restored = snakemake(here, "mp_assemble")
    assert restored.nothing, restored.text
    worker = snakemake(here, "-R", "mp_convert_model", "--", "mp_assemble")
    assert (worker.status, worker.computed) == (0, {"convert"}), worker.text
    # By now Snakemake has looked at what convert.json lies beside.
    target = snakemake(here, "-R", "mp_convert", "--", "mine")
    assert (target.status, target.computed) == (0, {"convert"}), target.text
    everything = snakemake(here, "-F", "mp_assemble")
    assert (everything.status, everything.computed) == (0, CHAIN), everything.text
    assert snakemake(here, "mp_assemble").nothing


def test_an_included_workflow_runs_and_is_restored(snakemake, there, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    (here / "Snakefile").write_text('include: "../there/Snakefile"\n')
    first = snakemake(here, "assemble")
    assert (first.status, first.computed) == (0, CHAIN), first.text
    shutil.rmtree(here / "results")
    assert snakemake(here, "assemble").nothing
    forced = snakemake(here, "-R", "convert", "--", "assemble")
    assert (forced.status, forced.computed) == (0, {"convert"}), forced.text
