"""design, "The main process": it needs Snakemake alone, changes nothing of Snakemake's, and a dry
run writes nothing."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from megaport.steps import STEPS
from support.checkout import ENVIRONMENT, MODEL, ROOT, checkout, snakemake_alone
from support.samples import slow

CONDA = """#!/bin/sh
# What Snakemake asks before it plans; it would install with the rest.
case "$1" in
--version) echo "conda 26.1.0" ;;
info) echo '{"conda_prefix": "/", "platform": "linux-64", "conda_version": "26.1.0"}' ;;
config) echo '{"get": {"channel_priority": "strict"}}' ;;
*) exit 1 ;;
esac
"""
TARGETS = [*STEPS, "report", "all", f"{MODEL}/converted/config.json", "results/report.html"]


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """A `snakemake` of its own environment, and a `conda` beside it that can install nothing."""
    python = snakemake_alone(tmp_path_factory.mktemp("alone") / "environment")
    conda = python.with_name("conda")
    conda.write_text(CONDA)
    conda.chmod(0o755)
    return python.with_name("snakemake")


@pytest.mark.slow
@pytest.mark.parametrize("conda", [[], ["--use-conda"]], ids=["without conda", "with conda"])
@pytest.mark.parametrize("target", TARGETS)
def test_snakemake_alone_plans_every_target(alone, tmp_path, target, conda):
    folder = checkout(tmp_path / "one")
    path = {"PATH": f"{alone.parent}:/usr/bin:/bin"}
    planned = subprocess.run(
        [alone, "-c1", "-n", *conda, target],
        cwd=folder, env=ENVIRONMENT | path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    text = planned.stdout + planned.stderr
    assert planned.returncode == 0, text
    assert "download_model" in text and "This was a dry-run" in text, text


def listing(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything there, with sizes and times, but what Snakemake and Python keep for themselves."""
    found = {}
    for path in folder.rglob("*"):
        stat = path.lstat()
        if not {".snakemake", "__pycache__"} & set(path.parts):
            times = () if path.is_dir() else (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            found[str(path)] = (stat.st_mode, *times)
    return found


HARMS = {
    "a file edited": lambda folder: (folder / MODEL / "model/vocab.json").write_text("{}"),
    "a receipt lost": lambda folder: (folder / MODEL / "convert.json").unlink(),
    "names lost": lambda folder: shutil.rmtree(folder / MODEL / "converted"),
    "a blob lost": lambda folder: next((folder / ".store/sha256").glob("*/*")).unlink(),
    "other parameters": lambda folder: (folder / "config.yaml").write_text(
        (folder / "config.yaml").read_text().replace("tokenizer: gpt2", "tokenizer: null")
    ),
    "results lost": lambda folder: shutil.rmtree(folder / "results"),
    "the store lost": lambda folder: shutil.rmtree(folder / ".store"),
}


@pytest.mark.parametrize("harm", ["a file edited", *map(slow, [*HARMS][1:])])
def test_a_dry_run_writes_nothing_anywhere(snakemake, built, harm):
    HARMS[harm](built)
    before = listing(built)
    for forced in ([], ["-F"]):
        told = snakemake(built, "-n", *forced, "--", "assemble", "pytorch_bin")
        assert told.status == 0 and not told.computed and not told.hits, told.text
    assert listing(built) == before


def test_a_dry_run_from_nothing_writes_nothing_anywhere(snakemake, tmp_path):
    folder = checkout(tmp_path / "one")
    (folder / ".snakemake").mkdir()
    before = listing(folder)
    told = snakemake(folder, "-n", "all")
    assert told.status == 0 and "download_model" in told.text, told.text
    assert "Forced execution" not in told.text
    assert listing(folder) == before
    kept = {path.name for path in (folder / ".snakemake").rglob("*") if path.is_file()}
    assert kept <= {"latest.pkl"}  # what Snakemake knows of files, for its next run


SOURCES = [
    ROOT / "Snakefile",
    *(p for p in (ROOT / "workflow").rglob("*") if p.suffix in (".py", ".smk")),
]
FORBIDDEN = re.compile(
    r"\b(workflow|rules|dag|snakemake)(\.\w+|\[[^]]*\])+\s*[-+|&]?=[^=]"  # an assignment
    r"|\b(setattr|delattr)\(\s*(workflow|rules|snakemake)\b"
    r"|__class__|\bos\._exit\b"
    r"|\b(workflow|rules|snakemake)(\.\w+)*\._[a-z]"  # a private attribute
)


def test_nothing_of_snakemakes_is_changed():
    lines = (
        (path.name, line)
        for path in SOURCES
        for line in path.read_text(encoding="utf-8").splitlines()
    )
    assert [(name, line) for name, line in lines if FORBIDDEN.search(line)] == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("workflow.scheduler = None", True),
        ("workflow.dag_settings.forcerun |= names", True),
        ("rules.all.input[0] = 1", True),
        ("setattr(workflow, 'x', 1)", True),
        ("workflow.__class__ = Other", True),
        ("workflow._workdir", True),
        ("asked = workflow.dag_settings", False),
        ("if workflow.dryrun == True:", False),
    ],
)
def test_what_counts_as_a_change(line, found):
    assert bool(FORBIDDEN.search(line)) is found
