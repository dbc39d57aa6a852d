"""What jobs ask for grows with the checkpoint and with every attempt, and never asks in vain."""

import json

import pytest

from megaport.plan.resources import NEEDS, content_mb, gpus, memory_mb, runtime_minutes
from support.checkout import checkout, snakemake


@pytest.fixture
def receipt(tmp_path):
    """A receipt of so many megabytes, in one of the places where receipts hold sizes."""

    def write(name: str, megabytes: int, place: str = "outputs") -> str:
        sizes = {"a": {"size": megabytes * 400_000}, "b": {"size": megabytes * 600_000}}
        told = {"outputs": {}, "facts": {}}
        if place == "outputs":
            told["outputs"] = sizes
        else:
            told["facts"][place] = sizes
        path = tmp_path / name
        path.write_text(json.dumps(told))
        return str(path)

    return write


@pytest.mark.parametrize("place", ["outputs", "members", "files"])
def test_the_size_is_in_the_receipt(receipt, place):
    assert content_mb([receipt("one.json", 710, place)]) == 710


def test_the_largest_of_several_inputs_counts(receipt):
    assert content_mb([receipt("a.json", 5), receipt("b.json", 710)]) == 710


@pytest.mark.parametrize("rule", ["convert", *NEEDS])
def test_more_for_a_larger_checkpoint_and_for_a_second_try(receipt, rule):
    small, large = [receipt("small.json", 10)], [receipt("large.json", 5000)]
    for asked in (memory_mb, runtime_minutes):
        assert asked(rule, small, 1) < asked(rule, large, 1)
        assert asked(rule, small, 2) == 2 * asked(rule, small, 1)


def test_a_receipt_to_come_is_asked_for_later(tmp_path):
    missing = str(tmp_path / "later.json")
    with pytest.raises(FileNotFoundError) as raised:
        memory_mb("convert", [missing], 1)
    assert raised.value.filename == missing


@pytest.mark.parametrize(
    ("device", "present", "asked"),
    [
        ("cuda", False, 1),
        ("cuda", True, 1),
        ("auto", True, 1),
        ("auto", False, 0),
        ("cpu", True, 0),
    ],
)
def test_a_card_is_asked_for_only_where_one_is_used(device, present, asked):
    assert gpus(device, present) == asked


def test_every_job_that_may_leave_the_machine_says_what_it_needs(tmp_path):
    folder = checkout(tmp_path / "checkout")
    assert snakemake(folder, "checksum").status == 0
    ran = snakemake(folder, "-n", "all")
    jobs = ran.text.split("rule ")[1:]
    asking = {job.partition("_model")[0] for job in jobs if "mem_mb=" in job and "runtime=" in job}
    assert {"convert", "assemble", "generate", "benchmark", "parity", "pytorch_bin"} <= asking
    known = next(job for job in jobs if job.startswith("convert_model:"))
    assert "mem_mb=1010" in known and "runtime=3" in known
