"""Sharing by folder: a store on another file system, below a personal one, and of a group."""

import os
import stat
from pathlib import Path

import pytest

from megaport.fetch.partial import Partial
from megaport.fetch.trust import Trust
from megaport.store.job import run_job
from megaport.store.store import Store, open_store
from megaport.store.upkeep import verify
from support.stores import OUTPUTS, compute, job_in, never, state


def test_a_store_on_another_file_system(tmp_path, other_file_system):
    assert other_file_system.stat().st_dev != tmp_path.stat().st_dev
    run_job(job_in(tmp_path, Store(other_file_system / "store")), compute)
    assert (tmp_path / "results/m/two").resolve().is_relative_to(other_file_system)
    assert state(tmp_path)
    run_job(job_in(tmp_path, Store(other_file_system / "store")), never)


@pytest.fixture
def below(tmp_path):
    """A system-wide store that somebody has filled, and that is now read-only."""
    run_job(job_in(tmp_path, Store(tmp_path / "system")), compute)
    for path in (tmp_path / "results").rglob("*"):
        if not path.is_dir():
            path.unlink()
    return tmp_path / "system"


def contents(folder: Path) -> dict[str, int]:
    return {str(p): p.lstat().st_mtime_ns for p in folder.rglob("*")}


def test_a_hit_below_is_a_hit_and_nothing_is_copied_or_written(tmp_path, below):
    before = contents(below)
    run_job(job_in(tmp_path, Store(tmp_path / "mine", [below])), never)
    assert (tmp_path / "results/m/two").resolve().is_relative_to(below)
    assert not (tmp_path / "mine" / "sha256").exists()
    assert contents(below) == before


def test_damage_below_is_a_miss_and_the_personal_store_heals_itself(tmp_path, below):
    for blob in Store(below).blobs:
        blob.chmod(0o644)
        blob.write_bytes(b"rot")
    mine = Store(tmp_path / "mine", [below])
    run_job(job_in(tmp_path, mine), compute)
    assert len(list(mine.blobs)) == len(OUTPUTS) and verify(mine).clean
    run_job(job_in(tmp_path, mine), never)


def test_a_personal_store_leans_on_nothing_below(tmp_path, below):
    """What is built here stays whole when the machine's store goes."""
    mine = Store(tmp_path / "mine", [below])
    run_job(job_in(tmp_path, mine, parameters={"other": 1}), compute)
    assert verify(mine).clean and len(list(mine.blobs)) == len(OUTPUTS)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077], ids=oct)
def test_everything_in_a_group_s_store_is_the_group_s(tmp_path, umask):
    shared = tmp_path / "store"
    shared.mkdir()
    shared.chmod(0o2775)
    before = os.umask(umask)
    try:
        run_job(job_in(tmp_path), compute)
        Partial(shared / "partial", "key").close()
        Trust(shared, "m", ["https://one.example/a.zip"]).record("a" * 64)
    finally:
        os.umask(before)
    assert {"partial", "trust"} < {path.name for path in shared.iterdir()}
    folders = [path for path in shared.rglob("*") if path.is_dir()]
    assert len(folders) > 4
    wanted = stat.S_ISGID | stat.S_IRWXG
    assert [p for p in folders if p.stat().st_mode & wanted != wanted] == []
    blobs = [path for path in (shared / "sha256").rglob("*") if path.is_file()]
    assert {p.stat().st_mode & 0o777 for p in blobs} == {0o444}


def test_a_lone_person_s_store_keeps_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        run_job(job_in(tmp_path), compute)
    finally:
        os.umask(before)
    assert (tmp_path / "store" / "sha256").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("upload", [True, False])
def test_the_configuration_names_the_remote_store(tmp_path, upload):
    settings = {"store": str(tmp_path / "s"), "store_below": [], "store_upload": upload}
    store = open_store(settings | {"store_remote": "s3://team/folder/"})
    assert (store.remote.url, store.remote.upload) == ("s3://team/folder", upload)
    assert open_store(settings | {"store_remote": None}).remote is None
