"""The workflow as a user meets it: one command, any form of the checkpoint, clear refusals."""

import json
import zipfile
from pathlib import Path

import pytest

from support.checkout import SIZES, ZIP, checkout, configured, refuses
from support.samples import slow

MEMBER = "release/mp_rank_00/model_optim_rng.pt"
WRITTEN_TO_ONCE_PLANNED = """
include: "Snakefile"
from megaport.plan import Plan
told = Plan.fingerprint
def fingerprint(plan, step, model):
    known = told(plan, step, model)
    with open({file!r}, "ab") as file:
        file.write(b"more")
    return known
Plan.fingerprint = fingerprint
"""


@pytest.fixture(scope="module")
def built(snakemake, tmp_path_factory):
    """A checkout in which `generate` has run once."""
    folder = checkout(tmp_path_factory.mktemp("workflow") / "a place with späces")
    ran = snakemake(
        folder, "generate", NGC_API_KEY="nvapi-secret-of-mine", LANG="C", TZ="Asia/Tokyo"
    )
    assert ran.status == 0, ran.text
    return folder, ran


def one_model(folder: Path, name: str, **model) -> list[str]:
    """The arguments that build one model of the given settings."""
    settings = {"model": name, "models": {name: {"architecture": SIZES, **model}}}
    return configured(folder, settings | {"download": {"retries": 0}})


def receipt(folder: Path, model: str, rule: str) -> dict:
    return json.loads((folder / "results" / model / f"{rule}.json").read_text())


def require_short_log(folder: Path, model: str, rule: str, remedy: str) -> None:
    """The log of the rule that failed: one error, a few lines, and the remedy at its end."""
    lines = (folder / "results" / model / "run" / f"{rule}.log").read_text().splitlines()
    assert len(lines) <= 6 and sum(line.startswith("error: ") for line in lines) == 1
    assert remedy in lines[-1].rpartition("expected ")[2] and lines[-1].endswith(".")
    assert len("".join(lines)) < 2000


def test_one_command_gives_text_and_a_second_does_nothing(snakemake, built):
    folder, ran = built
    assert ran.computed == {"download", "checksum", "inspect", "convert", "assemble", "generate"}
    assert "It is a truth universally acknowledged, that" in ran.text
    assert snakemake(folder, "generate").nothing


def test_the_text_says_where_it_was_made(built):
    first = (built[0] / "results/austen-tiny/generations.txt").read_text().splitlines()[0]
    assert first.startswith("device cpu, dtype ")


def test_the_key_is_nowhere(built):
    folder, ran = built
    small = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size < 1_000_000]
    assert "nvapi-secret" not in ran.text
    assert [p for p in small if b"nvapi-secret" in p.read_bytes()] == []


def test_deleted_results_come_back_without_computing(snakemake, built, tmp_path):
    folder, _ = built
    results = folder / "results"
    before = {p: p.read_bytes() for p in results.glob("austen-tiny/*.json")}
    results.rename(tmp_path / "away")
    ran = snakemake(folder, "generate")
    assert (ran.computed, len(ran.hits)) == (set(), 6)
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize(
    "form", [slow("zip"), "pt", slow("folder with a tracker"), "folder of rank files"]
)
def test_every_form_of_a_checkpoint_is_the_same_checkpoint(snakemake, built, tmp_path, form):
    folder, _ = built
    with zipfile.ZipFile(folder / ZIP) as archive:
        for name in archive.namelist():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(archive.read(name))
    path = {
        "zip": folder / ZIP,
        "pt": tmp_path / MEMBER,
        "folder with a tracker": tmp_path,
        "folder of rank files": tmp_path / "release",
    }[form]
    name = form.replace(" ", "-")
    config = one_model(folder, name, checkpoint={"path": str(path)})
    ran = snakemake(folder, "convert", *config)
    assert ran.status == 0, ran.text
    assert receipt(folder, name, "convert")["outputs"] == {
        **receipt(folder, "austen-tiny", "convert")["outputs"]
    }


def test_first_use_is_trusted_printed_and_then_enforced(snakemake, built, tmp_path):
    folder, _ = built
    with zipfile.ZipFile(folder / ZIP) as archive:
        (tmp_path / "mine.pt").write_bytes(archive.read(MEMBER))
    config = one_model(folder, "mine", checkpoint={"path": str(tmp_path / "mine.pt")})
    first = snakemake(folder, "checksum", *config)
    digest = receipt(folder, "mine", "checksum")["facts"]["content"]
    assert f"sha256: {digest}" in first.text
    changed = bytearray((tmp_path / "mine.pt").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "mine.pt").write_bytes(changed)
    refused = snakemake(folder, "checksum", *config)
    refuses(refused, digest, "first use")


def test_wrong_pinned_digest_is_refused_and_nothing_is_published(snakemake, built):
    folder, _ = built
    config = one_model(folder, "pinned", checkpoint={"path": ZIP, "sha256": "0" * 64})
    ran = snakemake(folder, "convert", *config)
    refuses(ran, "0" * 64, "models.pinned.checkpoint.sha256")
    require_short_log(folder, "pinned", "checksum", "only if you know the new bytes to be right.")
    assert not (folder / "results/pinned/checksum.json").exists()
    assert not (folder / "results/pinned/converted").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["convert", "--config", "modle=x"], "modle is not a key"),
        (["convert", "--config", "model=nobody"], "nobody"),
        (["results/nobody/convert.json"], "model nobody: no such name under `models`"),
    ],
)
def test_a_mistaken_name_is_explained_without_a_traceback(snakemake, built, arguments, told):
    ran = snakemake(built[0], *arguments)
    assert ran.status != 0 and told in ran.text and "Traceback" not in ran.text


def test_a_missing_file_is_explained_without_a_traceback(snakemake, built):
    config = one_model(built[0], "missing", checkpoint={"path": "/nowhere/model.zip"})
    refuses(snakemake(built[0], "convert", *config), "/nowhere/model.zip")
    require_short_log(built[0], "missing", "download", "Check the path and the disk.")


def test_every_source_failing_is_explained_without_a_traceback(snakemake, built):
    url = "http://127.0.0.1:9/model.zip"
    config = one_model(built[0], "gone", checkpoint={"urls": [url]})
    refuses(snakemake(built[0], "download", *config), url, "checkpoint: {path: FILE}")
    require_short_log(built[0], "gone", "download", "the same command resumes it.")


def test_a_folder_is_no_source_of_a_download(snakemake, built, tmp_path):
    (tmp_path / "model").mkdir()
    url = (tmp_path / "model").as_uri()
    config = one_model(built[0], "folder", checkpoint={"urls": [url]})
    refuses(snakemake(built[0], "download", *config), "checkpoint: {path: FOLDER}")


def test_a_checkpoint_that_changes_during_the_run_is_refused(snakemake, built, tmp_path):
    folder, _ = built
    mine = tmp_path / "mine.zip"
    mine.write_bytes((folder / ZIP).read_bytes() + b"not yet in the store")
    config = one_model(folder, "growing", checkpoint={"path": str(mine)})
    (folder / "growing.smk").write_text(WRITTEN_TO_ONCE_PLANNED.format(file=str(mine)))
    ran = snakemake(folder, "-s", "growing.smk", "download", *config)
    refuses(ran, "changed while the workflow ran")


def test_an_unreadable_head_count_names_the_key_to_set(snakemake, built):
    config = one_model(built[0], "headless", checkpoint={"path": ZIP}, architecture={})
    refuses(snakemake(built[0], "convert", *config), "n_head")
    require_short_log(built[0], "headless", "convert", "Set architecture.n_head")
