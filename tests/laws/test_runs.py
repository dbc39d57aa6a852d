"""Whole runs side by side and after a death: two clones, one directory, layers, a remote store."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from megaport.store.store import Store
from megaport.store.upkeep import verify
from support.checkout import (
    CHAIN,
    ENVIRONMENT,
    PRETENDING,
    SNAKEMAKE,
    Ran,
    checkout,
    configured,
    content,
)
from support.samples import slow


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [SNAKEMAKE, "-c1", *arguments],
        cwd=folder,
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(run: subprocess.Popen) -> Ran:
    text, _ = run.communicate(timeout=120)
    return Ran(run.returncode, text)


@pytest.mark.parametrize("locks", ["working", slow("missing")])
def test_two_runs_same_store_same_key_at_once(pristine, tmp_path, locks):
    """Two clones. With file locks the work is done once, without it may be done twice."""
    pretence = {"PYTHONPATH": str(PRETENDING), "PRETEND": "no-locks"} if locks == "missing" else {}
    clones = [checkout(tmp_path / name, pristine) for name in ("one", "two")]
    shared = ["--config", f"store={tmp_path / 'store'}"]
    started = [start(clone, "assemble", *shared, **pretence) for clone in clones]
    runs = [finish(run) for run in started]
    assert [run.status for run in runs] == [0, 0], runs
    assert runs[0].computed | runs[1].computed == CHAIN, runs
    assert locks == "missing" or not runs[0].computed & runs[1].computed, runs
    assert content(clones[0]) == content(clones[1]) == content(pristine)
    assert blobs(tmp_path / "store") == blobs(pristine / ".store")


def blobs(store: Path) -> list[str]:
    assert verify(Store(store)).clean
    return [path.name for path in Store(store).blobs]


def test_two_runs_in_one_directory_are_told_apart(pristine, tmp_path):
    """The second waits for nothing, harms nothing, and says why it stopped."""
    folder = checkout(tmp_path / "one", pristine)
    first = start(folder, "assemble")
    wait_for(folder / ".snakemake" / "locks" / "0.output.lock")
    second = finish(start(folder, "assemble"))
    assert second.status != 0 and "cannot be locked" in second.text, second.text
    assert finish(first).status == 0
    assert content(folder) == content(pristine)


def test_a_killed_snakemake_is_unlocked_as_in_every_project(pristine, tmp_path):
    folder = checkout(tmp_path / "one", pristine)
    run = start(folder, "assemble")
    wait_for(folder / "results" / "austen-tiny" / "download.json")
    os.kill(run.pid, signal.SIGKILL)
    finish(run)
    refused = finish(start(folder, "assemble"))
    assert refused.status != 0 and "--unlock" in refused.text
    assert finish(start(folder, "--unlock")).status == 0
    again = finish(start(folder, "assemble"))
    assert again.status == 0, again.text
    assert content(folder) == content(pristine)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.02)


def test_a_store_below_makes_everything_a_hit(snakemake, built, tmp_path):
    below = tmp_path / "system"
    (built / ".store").rename(below)
    clone = checkout(tmp_path / "clone", built)
    ran = snakemake(clone, "assemble", *configured(clone, {"store_below": [str(below)]}))
    assert (ran.computed, ran.hits) == (set(), CHAIN), ran.text
    shown = clone / "results" / "austen-tiny" / "converted" / "model.safetensors"
    assert shown.resolve().is_relative_to(below)
    again = snakemake(clone, "assemble", "--configfile", "mine.yaml")
    assert again.nothing, again.text


@pytest.mark.slow
def test_a_colleagues_upload_is_a_hit_and_without_it_the_work_is_done(snakemake, built, tmp_path):
    far = {"store_remote": f"file://{tmp_path}/far", "store_upload": True}
    first = snakemake(built, "assemble", *configured(built, far), "-F")
    assert first.computed == CHAIN, first.text
    clone = checkout(tmp_path / "clone", built)
    ran = snakemake(clone, "assemble", *configured(clone, far))
    assert (ran.computed, ran.hits) == (set(), CHAIN), ran.text
    shutil.rmtree(clone / ".store")
    shutil.rmtree(tmp_path / "far")
    alone = snakemake(clone, "assemble", "--configfile", "mine.yaml")
    assert alone.status == 0 and "convert" in alone.computed, alone.text
    assert content(clone) == content(built)
