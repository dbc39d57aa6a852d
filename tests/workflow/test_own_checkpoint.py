"""A checkpoint of one's own in one line: from a path to a model without a file written."""

import json
import re
import shutil
from pathlib import Path

import pytest

from support.checkout import ROOT, ZIP
from support.oracles import oracle_cases

ERAS = ("mlm2019_flat", "v2.5_fused", "mc_core_v0.15.0_dist")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / ZIP, tmp_path / "my gpt.zip"))


def made(folder: Path) -> Path:
    """The one folder of results beside those of the bundled model."""
    (found,) = (p for p in (folder / "results").iterdir() if p.name not in ("austen-tiny", "run"))
    return found


def test_the_target_inspect_shows_one_screen_whatever_is_known(built, snakemake, mine):
    for _ in range(2):  # the second time nothing is to be done but to show it
        ran = snakemake(built, "inspect", "--config", f"checkpoint={mine}")
        assert ran.status == 0
        assert "A gpt2 of 6 layers, an unknown number of heads" in ran.text
        assert "n_head=NUMBER behind" in " ".join(ran.text.split())
        assert f'    checkpoint: {{path: "{mine}"}}\n' in ran.text
        assert "    architecture: {n_head: ?, vocab_size: 50257}\n" in ran.text
        assert "Traceback" not in ran.text
    assert ran.computed == set()


def test_missing_heads_are_named_once_with_the_divisors(built, snakemake, mine):
    ran = snakemake(built, "convert", "--config", f"checkpoint={mine}", "--quiet")
    log = (made(built) / "run" / "convert.log").read_text()
    assert ran.status != 0
    assert re.findall("error: .*?: found", log) == [
        f"error: {made(built).name}: architecture.n_head: found"
    ]
    assert "2 (head size 80), 4 (head size 40)" in log
    assert "--config n_head=NUMBER" in log
    assert re.search(r"Heads by how likely English text is: 4 \(4\.\d\d nats a token\), ", log)
    assert "<name>" not in ran.text


def test_the_vocabulary_decides_the_tokenizer(built, snakemake, mine):
    ran = snakemake(built, "assemble", "--config", f"checkpoint={mine}", "n_head=4")
    assert ran.status == 0, ran.text
    files = {path.name for path in (made(built) / "model").iterdir()}
    assert {"vocab.json", "merges.txt", "tokenizer.json", "model.safetensors"} <= files
    bundled = json.loads((built / "results/austen-tiny/converted/config.json").read_text())
    own = json.loads((made(built) / "converted" / "config.json").read_text())
    assert own["n_head"] == bundled["n_head"]


def test_tokenizer_files_of_ones_own(built, snakemake, mine, tmp_path):
    folder = tmp_path / "tokenizer"
    shutil.copytree(ROOT / "resources" / "gpt2", folder)
    said = ["--config", f"checkpoint={mine}", "n_head=4", f"tokenizer={folder}"]
    assert snakemake(built, "assemble", *said).status == 0
    assert snakemake(built, "assemble", *said).nothing
    merges = folder / "merges.txt"
    merges.write_text("\n".join(merges.read_text().split("\n")[:-2]) + "\n")
    assert "assemble" in snakemake(built, "assemble", *said).computed
    assert (made(built) / "model" / "merges.txt").read_bytes() == merges.read_bytes()


@pytest.mark.oracle
@pytest.mark.slow
@pytest.mark.parametrize(
    "oracle",
    [case for case in oracle_cases() if case.name.startswith(ERAS)],
    ids=lambda case: case.name,
)
def test_any_era_generates(built, snakemake, oracle):
    heads = oracle.facts["heads"]
    ran = snakemake(built, "generate", "--config", f"checkpoint={oracle.path}", f"n_head={heads}")
    assert ran.status == 0, ran.text
    lines = (made(built) / "generations.jsonl").read_text().splitlines()
    assert len(json.loads(lines[0])["token_ids"]) == oracle.facts["positions"]
