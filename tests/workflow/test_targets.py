"""What Snakemake's own options and single files mean here: as its users expect."""

import shutil
from pathlib import Path

import pytest

from support.checkout import CHAIN, MODEL, SHORT, checkout, configured, content
from support.samples import slow

ALL = ("all", "export", "--configfile", "small.yaml")


@pytest.mark.parametrize("target", [slow("assemble"), "all"])
def test_until_an_aggregate_runs_what_it_needs(snakemake, tmp_path, target):
    folder = checkout(tmp_path / "one")
    ran = snakemake(folder, target, "--until", "assemble")
    assert (ran.status, ran.computed) == (0, CHAIN), ran.text
    assert snakemake(folder, "assemble").nothing


@pytest.mark.parametrize("name", ["inspect", slow("inspect_model")])
def test_omit_from_leaves_out_a_rule_and_what_reads_it(snakemake, tmp_path, name):
    folder = checkout(tmp_path / "one")
    ran = snakemake(folder, "assemble", "convert", "--omit-from", name)
    assert (ran.status, ran.computed) == (0, {"download", "checksum"}), ran.text


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("converted/config.json", "model"),
        ("inspection/inspection.json", "converted"),
        ("model/README.md", "generations.txt"),
        ("convert.json", "model"),
    ],
)
def test_a_single_file_comes_back_with_no_more_than_it_needs(snakemake, built, name, absent):
    before = (built / MODEL / name).read_bytes()
    shutil.rmtree(built / "results")
    ran = snakemake(built, str(MODEL / name))
    assert ran.nothing, ran.text
    assert (built / MODEL / name).read_bytes() == before
    assert not (built / MODEL / absent).exists()


@pytest.mark.parametrize("name", ["converted/pytorch_model.bin", slow("generations.txt")])
def test_a_single_file_is_made(snakemake, built, name):
    ran = snakemake(built, str(MODEL / name))
    assert ran.status == 0 and len(ran.computed) == 1, ran.text
    assert (built / MODEL / name).is_file()


@pytest.fixture(scope="module")
def everything(snakemake, pristine, tmp_path_factory):
    """A checkout in which every rule has run."""
    folder = tmp_path_factory.mktemp("everything") / "one"
    shutil.copytree(pristine, folder, symlinks=True)
    configured(folder, {"benchmark": SHORT}, "small.yaml")
    ran = snakemake(folder, *ALL)
    assert ran.status == 0, ran.text
    return folder


@pytest.mark.slow
def test_everything_twice_is_nothing_to_do(snakemake, everything):
    assert snakemake(everything, *ALL).nothing


@pytest.mark.slow
def test_everything_comes_back_without_computing(snakemake, everything, tmp_path):
    folder = Path(shutil.copytree(everything, tmp_path / "copy", symlinks=True))
    before = content(folder)
    shutil.rmtree(folder / "results")
    ran = snakemake(folder, *ALL)
    assert (ran.status, ran.computed) == (0, set()), ran.text
    assert content(folder) == before


@pytest.mark.slow
def test_deleting_all_output_leaves_logs_alone(snakemake, everything, tmp_path):
    folder = Path(shutil.copytree(everything, tmp_path / "copy", symlinks=True))
    ran = snakemake(folder, "--delete-all-output", *ALL)
    assert ran.status == 0, ran.text
    left = [p for p in (folder / "results").rglob("*") if not p.is_dir()]
    assert [path for path in left if path.parent.name != "run"] == []
    assert (folder / ".store").is_dir()
