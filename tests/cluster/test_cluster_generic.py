"""Jobs through an executor, as on a cluster: submitted, polled, run by a Snakemake of their own."""

import re

import pytest

from support.checkout import SIZES, ZIP, checkout, configured, executable, refuses, snakemake

SUBMIT = """#!/bin/sh
# Runs the job script in the background, as a scheduler would elsewhere; its id is a file name.
id=$(mktemp "$JOBS/job.XXXXXX")
(sh "$1" >"$id.out" 2>&1 && echo success >"$id" || echo failed >"$id") </dev/null >/dev/null 2>&1 &
echo "$id"
"""
STATUS = """#!/bin/sh
cat "$1" | grep . || echo running
"""
MODEL = {"checkpoint": {"path": ZIP}, "architecture": SIZES}


@pytest.fixture
def cluster(tmp_path):
    """Arguments that send every job but the local ones through the two scripts."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    arguments = [
        "--executor", "cluster-generic", "--jobs", "2", "--seconds-between-status-checks", "1",
        "--cluster-generic-submit-cmd", str(executable(tmp_path / "submit", SUBMIT)),
        "--cluster-generic-status-cmd", str(executable(tmp_path / "status", STATUS)),
    ]  # fmt: skip
    return arguments, jobs


@pytest.mark.slow
def test_two_models_through_an_executor(tmp_path, cluster):
    arguments, jobs = cluster
    folder = checkout(tmp_path / "checkout")
    two = {"model": ["one", "two"], "models": {"one": MODEL, "two": MODEL}}
    asked = ["convert", *configured(folder, two), *arguments]
    ran = snakemake(folder, *asked, JOBS=str(jobs))
    assert ran.status == 0, ran.text + "".join(p.read_text() for p in jobs.glob("*.out"))
    outputs = "".join(path.read_text() for path in sorted(jobs.glob("*.out")))
    assert outputs.count("convert: computed") + outputs.count("convert: cache hit") == 2
    assert (folder / "results/one/converted/model.safetensors").resolve() == (
        folder / "results/two/converted/model.safetensors"
    ).resolve()
    assert snakemake(folder, *asked, JOBS=str(jobs)).nothing


@pytest.mark.slow
def test_forcing_reaches_jobs_of_an_executor(tmp_path, cluster):
    arguments, jobs = cluster
    folder = checkout(tmp_path / "checkout")
    assert snakemake(folder, "checksum").status == 0
    ran = snakemake(folder, *arguments, "-R", "checksum", "--", "checksum", JOBS=str(jobs))
    outputs = "".join(path.read_text() for path in jobs.glob("*.out"))
    assert ran.status == 0 and "checksum: computed" in outputs, ran.text + outputs
    assert not list(folder.rglob("*.forced"))


def test_the_steps_that_move_bytes_are_one_job(tmp_path, cluster):
    arguments, jobs = cluster
    folder = checkout(tmp_path / "checkout")
    ran = snakemake(folder, *arguments, "--", "assemble", "pytorch_bin", JOBS=str(jobs))
    [job] = jobs.glob("*.out")
    assert ran.status == 0, ran.text + job.read_text()
    computed = set(re.findall(r"^(\w+): computed", job.read_text(), re.MULTILINE))
    assert computed == {"checksum", "inspect", "convert", "assemble", "pytorch_bin"}


def test_the_error_of_a_job_elsewhere_is_said_here(tmp_path, cluster):
    arguments, jobs = cluster
    folder = checkout(tmp_path / "checkout")
    pinned = ["--config", f"sha256={'a' * 64}"]
    ran = snakemake(folder, "checksum", *pinned, *arguments, JOBS=str(jobs))
    refuses(ran, "a" * 64)
    told = "results/austen-tiny/run/checksum.log: error: austen-tiny: checkpoint content: found"
    assert ran.text.count(told) == 1, ran.text
