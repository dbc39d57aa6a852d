"""What jobs ask for, as Snakemake reads rules and profiles: memory, time, and one of the cards."""

import re

import pytest

from support.checkout import checkout

ON_A_CARD = {"generate_model", "benchmark_model", "parity_model"}
GPU = ["--profile", "profiles/gpu", "--configfile", "profiles/gpu/model.yaml"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("profiles") / "checkout")


def asked(text: str) -> dict[str, str]:
    """The resources that a dry run says each rule's job asks for."""
    return dict(re.findall(r"rule (\w+_model):.*?resources: ([^\n]*)", text, re.DOTALL))


def test_every_job_that_may_leave_the_machine_says_what_it_needs(snakemake, folder):
    assert snakemake(folder, "checksum").status == 0
    jobs = asked(snakemake(folder, "-n", "--quiet=host", "all").text)
    asking = {rule for rule, line in jobs.items() if "mem_mb=" in line and "runtime=" in line}
    wanted = {"convert", "assemble", "generate", "benchmark", "parity", "pytorch_bin"}
    assert {f"{step}_model" for step in wanted} <= asking
    known = jobs["convert_model"]
    assert "mem_mb=1012" in known and "runtime=3" in known


@pytest.mark.parametrize(("arguments", "cards"), [(GPU, 1), ([], 0)], ids=["gpu", "default"])
def test_cards_are_asked_for_by_what_uses_one(snakemake, folder, arguments, cards):
    ran = snakemake(folder, "-n", "--quiet=host", *arguments, "--", "all")
    assert ran.status == 0, ran.text
    resources = asked(ran.text)
    assert {rule for rule, line in resources.items() if f"gpu={cards}" in line} == ON_A_CARD


def test_there_is_one_card_to_share(snakemake, folder):
    """Snakemake cuts a request down to what there is."""
    ran = snakemake(
        folder, "-n", "--quiet=host", *GPU, "--set-resources", "parity_model:gpu=5", "--", "parity"
    )
    assert "gpu=1" in asked(ran.text)["parity_model"], ran.text
