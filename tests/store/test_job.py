"""One job: what it refuses, clears away, shows and costs, and when it is forced."""

import errno
import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from megaport.errors import MegaportError
from megaport.store import job as job_module
from megaport.store.actions import read_receipt
from megaport.store.job import OutputError, run_job
from megaport.store.store import Made, Store
from support.stores import OUTPUTS, compute, job_in, never, state


def test_a_promised_file_that_is_kept_back_is_a_bug_and_nothing_is_filed(tmp_path):
    job = job_in(tmp_path)
    with pytest.raises(OutputError) as refused:
        run_job(job, lambda work: None, promised=tuple(OUTPUTS))
    assert str(refused.value) == (
        "rule build: found no a/one, two; expected every output the rule declares. "
        "This is a bug of the workflow: please report it with the log."
    )
    assert list(job.store.blobs) == list(job.store.actions) == []


def test_each_run_says_in_one_line_whether_it_computed_and_notes_what_building_cost(
    tmp_path, caplog
):
    caplog.set_level(logging.INFO, "megaport")
    said = []
    for body in (compute, never):
        receipt = run_job(job_in(tmp_path), body)
        note = json.loads((tmp_path / "results/m/run/build.json").read_text())
        said.append((caplog.messages[-1], note["this_run"], note["built"]))
    short = receipt.action.key[:12]
    assert caplog.messages[0] == "build: m" and len(caplog.messages) == 3
    assert re.fullmatch(rf"build: computed in \d+\.\d s \(action {short}, 2 files\)", said[0][0])
    assert said[1][0] == f"build: cache hit, nothing computed (action {short}, 2 files)"
    assert [note for _, note, _ in said] == ["computed", "cache hit"]
    assert said[0][2] == said[1][2] == job_in(tmp_path).lookup().cost


def test_a_step_that_waited_for_another_finds_what_that_built(tmp_path):
    """Between a miss and the lock somebody else builds it."""
    first = job_in(tmp_path)
    late = LateStore(first.store.root, lambda: run_job(first, compute))
    run_job(job_in(tmp_path, late), never)
    note = json.loads((tmp_path / "results/m/run/build.json").read_text())
    assert note["this_run"] == "cache hit"


class LateStore(Store):
    """A store whose lock is got only after somebody else has worked."""

    def __init__(self, root: Path, work: Callable[[], object]) -> None:
        super().__init__(root)
        self.work = work

    def locked(self, key: str):
        self.work()
        return super().locked(key)


def test_a_result_is_not_filed_under_code_that_was_edited_meanwhile(tmp_path):
    job = job_in(tmp_path)

    def compute_and_edit(work):
        compute(work)
        job.source.script.write_text("import os\n")

    with pytest.raises(OutputError) as refused:
        run_job(job, compute_and_edit)
    assert str(refused.value) == (
        "rule build: found that its code was edited while it ran; "
        "expected the code the run started with. Run the same command again."
    )
    assert list(job.store.actions) == []
    run_job(job_in(tmp_path), compute)


def test_a_refused_result_is_kept_and_not_named(tmp_path):
    def refuse(result):
        assert set(result.outputs) == set(OUTPUTS)
        raise MegaportError("digest", seen="a", expected="b", remedy="Pin it.")

    with pytest.raises(MegaportError, match="digest"):
        run_job(job_in(tmp_path), compute, accept=refuse)
    assert not (tmp_path / "results").exists()
    run_job(job_in(tmp_path), never)


@pytest.mark.parametrize("way", ["symlink", "copy"])
def test_names_are_links_or_files_as_asked(tmp_path, way):
    job = replace(job_in(tmp_path), way=way)
    run_job(job, compute)
    assert (job.folder / "two").is_symlink() == (way == "symlink")


def test_a_mark_makes_a_job_compute_once(tmp_path):
    run_job(job_in(tmp_path), compute)
    job_in(tmp_path).mark.touch()
    ran = []
    for body in (lambda work: ran.append(1) or compute(work), never):
        run_job(job_in(tmp_path), body)
    assert ran == [1]


def test_a_mark_outlives_a_job_that_fails(tmp_path):
    run_job(job_in(tmp_path), compute)
    job_in(tmp_path).mark.touch()
    with pytest.raises(AssertionError, match="computed"):
        run_job(job_in(tmp_path), never)
    assert job_in(tmp_path).mark.exists()


def test_a_job_sees_its_inputs_as_a_folder_of_verified_blobs(tmp_path):
    run_job(job_in(tmp_path), compute)
    first = read_receipt(tmp_path / "results/m/build.json")
    inputs = {"all": first.outputs, "some": first.outputs}
    second = job_in(tmp_path)
    second = replace(second, action=replace(second.action, inputs=inputs, parameters={"n": 2}))
    seen = {}

    def look(work):
        everything = work.folder("all")
        for name in OUTPUTS:
            seen[name] = (everything / name).read_bytes()
        seen["of a"] = [path.name for path in work.folder("some", "a").iterdir()]
        seen["two"] = work.blob("all", "two").read_bytes()
        seen["parameters"] = work.parameters
        compute(work)

    run_job(second, look)
    assert seen == {**OUTPUTS, "of a": ["one"], "parameters": {"n": 2}}


def test_files_of_another_configuration_are_cleared_away(tmp_path):
    folder = tmp_path / "results" / "m"
    for name in ("a/stale", "a/b/stale", "kept"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")
    for body in (compute, never):
        run_job(replace(job_in(tmp_path), files=("a/**/*", "a")), body)
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left == {*OUTPUTS, "build.json", "kept", "run/build.json"}
    assert not (folder / "a" / "b").exists()


def test_what_lives_in_the_store_only_gets_no_name(tmp_path):
    job = job_in(tmp_path)

    def compute_hidden(work):
        (work.out / "@hidden").write_bytes(b"x")
        return Made(facts={"n": 1})

    receipt = run_job(job, compute_hidden)
    assert set(receipt.outputs) == {"@hidden"} and receipt.facts == {"n": 1}
    assert not (tmp_path / "results/m/@hidden").exists()
    assert job.store.path_of(receipt.outputs["@hidden"]).read_bytes() == b"x"


def test_what_a_killed_run_left_beside_the_names_is_swept_away(tmp_path):
    folder = tmp_path / "results" / "m"
    folder.mkdir(parents=True)
    ours = [".two.123.0badcafe.tmp", ".build.json.123.0badcafe.tmp"]
    others = [".notes.123.0badcafe.tmp", ".build.json"]
    for name in (*ours, *others):
        (folder / name).write_text("half")
    run_job(job_in(tmp_path), compute)
    assert sorted(path.name for path in folder.glob(".*")) == sorted(others)
    assert state(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EACCES])
def test_only_a_file_system_without_locks_is_worked_on_without_locks(tmp_path, monkeypatch, code):
    def failing(handle, operation):
        raise OSError(code, "flock")

    monkeypatch.setattr("fcntl.flock", failing)
    if code == errno.EACCES:
        with pytest.raises(OSError, match="flock"):
            run_job(job_in(tmp_path), compute)
    else:
        run_job(job_in(tmp_path), compute)
        assert state(tmp_path)


def test_building_costs_time_and_memory_at_a_moment_on_a_host(monkeypatch):
    """Begun at noon, read 2.00014 seconds later, on the host `alpha`."""
    monkeypatch.setattr(job_module.time, "perf_counter", lambda: 12.00014)
    monkeypatch.setattr(job_module.os, "uname", lambda: SimpleNamespace(nodename="alpha"))
    usage = {job_module.resource.RUSAGE_SELF: SimpleNamespace(ru_maxrss=3)}
    monkeypatch.setattr(job_module.resource, "getrusage", usage.__getitem__)
    assert job_module.cost_since(1_700_000_000.0, 10.0) == {
        "wall_seconds": 2.0001,
        "peak_rss_bytes": 3072,
        "started": "2023-11-14T22:13:20Z",
        "host": "alpha",
    }
