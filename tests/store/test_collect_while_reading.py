"""Row "collection while a run reads": live objects kept."""

from dataclasses import replace
from pathlib import Path

from megaport.store.actions import read_receipt
from megaport.store.job import Job, run_job
from megaport.store.upkeep import verify
from support.stores import collect, job_in


def job(folder: Path, number: int, before: Job | None) -> Job:
    """One of a chain: each reads what the one before made."""
    made = read_receipt(before.receipt).outputs if before else {}
    one = job_in(folder, parameters={"n": number})
    action = replace(one.action, inputs={"before": made})
    return replace(one, action=action, receipt=one.receipt.with_name(f"{number}.json"))


def test_what_a_running_step_reads_and_writes_is_kept(tmp_path):
    """At the worst moment, with no grace at all: the input has a receipt, the work a lock."""
    first = job(tmp_path, 0, None)
    run_job(first, lambda work: (work.out / "0").write_text("zero") and None)

    def compute(work):
        path = work.blob("before", "0")
        (work.out / "1").write_text("one")
        assert collect(tmp_path / "store", tmp_path / "results") == 0
        assert path.read_text() == "zero"

    second = job(tmp_path, 1, first)
    run_job(second, compute)
    assert collect(tmp_path / "store", tmp_path / "results") == 0
    assert (tmp_path / "results/m/0").read_text() == "zero"
    assert (tmp_path / "results/m/1").read_text() == "one"
    assert verify(second.store).clean and len(list(second.store.blobs)) == 2


def test_what_no_receipt_reaches_goes_while_a_step_runs(tmp_path):
    """The test above could not fail otherwise: the collector does remove things meanwhile."""
    first = job(tmp_path, 0, None)
    run_job(first, lambda work: (work.out / "0").write_text("zero") and None)
    first.receipt.unlink()

    def compute(work):
        assert collect(tmp_path / "store", tmp_path / "results") == 0
        assert list(first.store.blobs) == []
        (work.out / "1").write_text("one")

    run_job(job(tmp_path, 1, None), compute)
    assert (tmp_path / "results/m/1").read_text() == "one"
