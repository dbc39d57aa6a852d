"""The profiles as Snakemake reads them: which jobs ask for a card, and how many cards there are."""

import re

import pytest
import yaml

from support.checkout import checkout

ON_A_CARD = {"generate_model", "benchmark_model", "parity_model"}
GPU = ["--profile", "profiles/gpu", "--configfile", "profiles/gpu/model.yaml"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("profiles") / "checkout")


def asked(text: str) -> dict[str, str]:
    """The resources that a dry run says each rule's job asks for."""
    return dict(re.findall(r"rule (\w+_model):.*?resources: ([^\n]*)", text, re.DOTALL))


@pytest.mark.parametrize(("arguments", "cards"), [(GPU, 1), ([], 0)], ids=["gpu", "default"])
def test_cards_are_asked_for_by_what_uses_one(snakemake, folder, arguments, cards):
    ran = snakemake(folder, "-n", *arguments, "--", "all")
    assert ran.status == 0, ran.text
    resources = asked(ran.text)
    assert {rule for rule, line in resources.items() if f"gpu={cards}" in line} == ON_A_CARD


def test_there_is_one_card_to_share(snakemake, folder):
    """Snakemake cuts a request down to what there is."""
    ran = snakemake(folder, "-n", *GPU, "--set-resources", "parity_model:gpu=5", "--", "parity")
    assert "gpu=1" in asked(ran.text)["parity_model"], ran.text


def test_under_the_slurm_profile_only_downloads_go_side_by_side_in_one_place(snakemake, folder):
    """What does not need the executor of that profile, which is not among the requirements."""
    given = yaml.safe_load((folder / "profiles/slurm/config.yaml").read_text())
    kept = {name: value for name, value in given.items() if "resource" in name}
    (folder / "profiles/here").mkdir()
    (folder / "profiles/here/config.yaml").write_text(yaml.safe_dump(kept))
    ran = snakemake(folder, "-n", "--profile", "profiles/here", "--", "assemble", "pytorch_bin")
    lines = asked(ran.text)
    assert len(lines) == 6 and "one_step=0" in lines.pop("download_model"), ran.text
    assert all("one_step=1" in line for line in lines.values())
