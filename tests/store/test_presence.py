"""Which of Snakemake's left-over marks a run removes: those that only a dead run can have left."""

import fcntl
import os

import pytest

from megaport.store import presence


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Enters the directory as a run on a host, leaves marks if told to, and dies."""
    marks = tmp_path / ".snakemake" / "locks"

    def enter(host: bytes = b"alpha", boot: bytes = b"boot-1", *, leaves: bool = False) -> int:
        monkeypatch.setattr(presence, "_here", lambda: host + b" " + boot)
        removed = presence.enter(tmp_path)
        presence._held.pop().close()
        if leaves:
            marks.mkdir(exist_ok=True)
            (marks / "0.input.lock").touch()
            (marks / "0.output.lock").touch()
        return len(removed)

    return enter


def test_marks_of_a_dead_run_go(run):
    assert run(leaves=True) == 0
    assert run() == 2
    assert run() == 0


@pytest.mark.parametrize(
    "where",
    [(b"alpha", b"boot-2"), (b"container", b"boot-1")],
    ids=["after a reboot", "another container of the host"],
)
def test_the_same_host_is_known_again(run, where):
    run(leaves=True)
    assert run(*where) == 2


def test_marks_of_another_host_stay_whoever_looks(run):
    """Its lock may not reach here: it may be alive."""
    run(leaves=True)
    assert run(b"beta", b"boot-9") == 0
    assert run() == 0


def test_marks_that_were_there_first_stay(run, tmp_path):
    """Nobody of this workflow can have made them."""
    (tmp_path / ".snakemake" / "locks").mkdir(parents=True)
    (tmp_path / ".snakemake" / "locks" / "0.output.lock").touch()
    assert run() == 0
    assert list((tmp_path / ".snakemake" / "locks").iterdir())


def test_marks_of_a_living_run_stay(run, tmp_path):
    run(leaves=True)
    with (tmp_path / ".snakemake" / "present").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert run() == 0
    assert run() == 2


def test_a_kernel_without_boot_ids(monkeypatch, tmp_path):
    monkeypatch.setattr(presence, "BOOT", tmp_path / "none")
    assert presence._here() == os.uname().nodename.encode() + b" -"


def test_a_host_is_its_name_and_its_kernels_run(monkeypatch, tmp_path):
    (tmp_path / "boot_id").write_text("b00t\n")
    monkeypatch.setattr(presence, "BOOT", tmp_path / "boot_id")
    assert presence._here() == os.uname().nodename.encode() + b" b00t"


def test_hosts_without_boot_ids_are_not_one(run):
    run(b"alpha", b"-", leaves=True)
    assert run(b"beta", b"-") == 0


def test_a_directory_that_takes_no_mark_is_no_error(tmp_path):
    (tmp_path / ".snakemake").touch()
    assert presence.enter(tmp_path) == []
