"""design: the laws of addressing, driven through Snakemake's command line on the bundled model.

Each test starts from a checkout in which `assemble` has run, does one thing, and says exactly which
bodies ran. Most runs come from a warm process (tests/support/snakemake_server.py), a few from the
program itself.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from support import checkout as shell
from support.checkout import CHAIN, MODEL, Ran, checkout, configured, content
from support.samples import slow

TARGET = "assemble"


def edit(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def blob(folder: Path, rule: str, name: str) -> Path:
    digest = json.loads((folder / MODEL / f"{rule}.json").read_text())["outputs"][name]["sha256"]
    return folder / ".store" / "sha256" / digest[:2] / digest


def ran_nothing(ran: Ran) -> bool:
    return ran.status == 0 and not ran.computed


def test_a_first_run_computes_the_chain(snakemake, tmp_path, pristine):
    folder = checkout(tmp_path / "first", pristine)
    assert snakemake(folder, "checksum").computed == {"download", "checksum"}
    assert snakemake(folder, TARGET).computed == CHAIN - {"download", "checksum"}


def test_touching_everything_runs_nothing(snakemake, built):
    for path in built.rglob("*"):
        if ".snakemake" not in path.parts and ".store" not in path.parts and path.exists():
            os.utime(path)
    assert ran_nothing(snakemake(built, TARGET))


def test_a_copy_runs_nothing(snakemake, built, tmp_path):
    shutil.copytree(built, tmp_path / "copy", symlinks=True, copy_function=shutil.copyfile)
    assert ran_nothing(snakemake(tmp_path / "copy", TARGET))


def test_moving_runs_nothing(built, tmp_path):
    built.rename(tmp_path / "elsewhere")
    ran = shell.snakemake(tmp_path / "elsewhere", TARGET)
    assert ran.nothing, ran.text


def test_a_new_clone_on_the_same_store_computes_nothing(snakemake, built, tmp_path):
    clone = checkout(tmp_path / "clone", built)
    ran = snakemake(clone, TARGET, "--config", f"store={built / '.store'}")
    assert (ran.computed, ran.hits) == (set(), CHAIN), ran.text
    assert content(clone) == content(built)


def test_a_parameter_changed_and_back(snakemake, built):
    before = content(built)
    settings = configured(built, {"models": {"austen-tiny": {"dtype": "float32"}}})
    changed = snakemake(built, TARGET, *settings)
    assert changed.computed == {"convert", "assemble"}, changed.text
    assert content(built) != before
    back = snakemake(built, TARGET)
    assert (back.computed, back.hits) == (set(), {"convert", "assemble"}), back.text
    assert content(built) == before


@pytest.mark.parametrize(
    ("name", "old", "new", "bodies"),
    [
        ("workflow/megaport/convert/model_card.py", "# {", "#  {", {"convert", "assemble"}),
        ("workflow/scripts/inspect.py", "indent=1", "indent=2", {"inspect", "assemble"}),
        ("workflow/megaport/store/store.py", "class Blobs:", "class Blobs:  # ...", set()),
        ("workflow/rules/convert.smk", "# Megatron", "# All Megatron", set()),
    ],
    ids=["a step's package", "a script", "the store", "a rule's comment"],
)
def test_edits_of_behaviour_run_what_they_reach(snakemake, built, name, old, new, bodies):
    edit(built, name, old, new)
    ran = snakemake(built, TARGET)
    assert (ran.status, ran.computed) == (0, bodies), ran.text


def test_a_change_that_gives_the_same_bytes_stops_there(snakemake, built):
    edit(built, "workflow/scripts/convert.py", "from adapter", "UNUSED = 1\nfrom adapter")
    ran = snakemake(built, TARGET)
    assert ran.computed == {"convert"} and ran.hits == {"assemble"}, ran.text


def test_versions_are_in_the_keys_of_what_they_can_change(snakemake, built, tmp_path):
    fake = tmp_path / "site" / "numpy-9.9.9.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9.9\n")
    ran = snakemake(built, "generate", PYTHONPATH=str(fake.parent))
    assert ran.computed == {"generate"}, ran.text
    told = {
        step: json.loads((built / MODEL / f"{step}.json").read_text())["software"]
        for step in ("convert", "generate")
    }
    assert told["convert"] == {} and told["generate"]["numpy"] == "9.9.9"


@pytest.mark.parametrize("lost", ["results", ".snakemake", "both"])
def test_deleting_it_computes_nothing(snakemake, built, lost):
    before = content(built)
    for name in ("results", ".snakemake") if lost == "both" else (lost,):
        shutil.rmtree(built / name)
    ran = snakemake(built, TARGET)
    assert ran.nothing, ran.text
    assert content(built) == before


def test_deleting_the_store_recomputes_the_same(snakemake, built):
    before = content(built)
    shutil.rmtree(built / ".store")
    ran = snakemake(built, TARGET)
    # A local checkpoint and its digests have nothing in the store to lose.
    assert ran.computed == CHAIN - {"download", "checksum"}, ran.text
    assert content(built) == before


HARMED = ("converted/model.safetensors", "model/vocab.json", "model/model.safetensors")


@pytest.mark.parametrize("harm", [slow("deleted"), "edited", slow("truncated")])
def test_results_a_user_edits_or_truncates_come_back(snakemake, built, harm):
    before = content(built)
    for name in HARMED:
        path = built / MODEL / name
        good = path.read_bytes()
        path.unlink()
        if harm != "deleted":
            path.write_bytes(good[:-9] if harm == "truncated" else good[:-9] + b"X" * 9)
    ran = snakemake(built, TARGET)
    assert ran_nothing(ran), ran.text
    assert content(built) == before
    assert [(built / MODEL / name).is_symlink() for name in HARMED] == [True, False, False]


@pytest.mark.parametrize(
    "harm", [slow("removed"), slow("emptied"), "rotted", slow("written through its name")]
)
def test_a_blob_that_was_harmed_is_rebuilt(snakemake, built, harm):
    before = content(built)
    path = blob(built, "convert", "converted/config.json")
    good = path.read_bytes()
    if harm == "removed":
        path.unlink()
    else:
        path.chmod(0o644)
        target = built / MODEL / "converted/config.json" if "name" in harm else path
        target.write_bytes(b"" if harm == "emptied" else good.replace(b"4", b"5", 1))
    ran = snakemake(built, TARGET)
    assert "convert" in ran.computed and ran.computed <= {"convert"}, ran.text
    assert content(built) == before


def test_one_intermediate_file(snakemake, built):
    (built / MODEL / "converted/config.json").unlink()
    ran = snakemake(built, str(MODEL / "converted/config.json"))
    assert ran.nothing and ran.hits == {"convert"}, ran.text
    assert (built / MODEL / "converted/config.json").exists()


def test_a_dry_run_tells_the_truth(snakemake, built):
    assert snakemake(built, "-n", TARGET).nothing
    (built / MODEL / "model/merges.txt").unlink()
    assert snakemake(built, "-n", TARGET).nothing  # it is in the store
    blob(built, "convert", "converted/config.json").unlink()
    told = snakemake(built, "-n", TARGET)
    assert "convert_model" in told.text and "inspect_model" not in told.text
    forced = snakemake(built, "-n", "-R", "inspect", "--", TARGET)
    assert "inspect_model" in forced.text
    assert not forced.computed and not forced.hits


@pytest.mark.parametrize(
    ("arguments", "bodies"),
    [
        (["-F", TARGET], CHAIN),
        (["-R", "convert", "--", TARGET], {"convert"}),
        (["--forcerun", "inspect", "--", TARGET], {"inspect"}),
        (["-R", str(MODEL / "converted/config.json"), "--", TARGET], {"convert"}),
        (["-f", TARGET], {"assemble"}),
    ],
    ids=["-F", "-R", "--forcerun", "-R a file", "-f"],
)
def test_forced_means_executed(snakemake, built, arguments, bodies):
    before = content(built)
    ran = snakemake(built, *arguments)
    assert (ran.status, ran.computed) == (0, bodies), ran.text
    assert content(built) == before


def test_until_stops_at_the_target(snakemake, built):
    shutil.rmtree(built / "results")
    ran = snakemake(built, TARGET, "--until", "checksum")
    assert ran.hits == {"download", "checksum"} and not (built / MODEL / "convert.json").exists()


def test_receipts_hold_no_path_time_or_host(built):
    text = "".join(p.read_text() for p in (built / MODEL).glob("*.json"))
    assert (
        str(built) not in text and str(Path.home()) not in text and os.uname().nodename not in text
    )


@pytest.mark.slow
def test_generation_follows_its_prompts_only(snakemake, built):
    assert snakemake(built, "generate").computed == {"generate"}
    before = content(built)
    changed = snakemake(built, "generate", *configured(built, {"generate": {"max_length": 12}}))
    assert changed.computed == {"generate"}, changed.text
    back = snakemake(built, "generate")
    assert (back.computed, back.hits) == (set(), {"generate"}), back.text
    assert content(built) == before


def test_another_directory(snakemake, built, tmp_path):
    ran = snakemake(built, TARGET, "--directory", str(tmp_path / "there"))
    assert ran.computed == CHAIN, ran.text
    assert content(tmp_path / "there") == content(built)
