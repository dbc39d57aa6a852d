"""What every rule owes its reader, and the order of things a user relies on."""

import re

import pytest

from megaport.plan.forcing import forced, workers
from megaport.plan.plan import READS, RULES
from support.checkout import ROOT

RULE_FILES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
SNAKEFILE = (ROOT / "Snakefile").read_text()


def rules():
    for path in [*RULE_FILES, ROOT / "Snakefile"]:
        for block in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            yield block.partition(":")[0], block


@pytest.mark.parametrize(("name", "block"), list(rules()), ids=[name for name, _ in rules()])
def test_has_a_docstring_and_what_runs_has_a_log_and_an_environment(name, block):
    assert block.split("\n")[1].strip().startswith('"""')
    assert not re.search(r"^ +(run|shell):", block, re.MULTILINE)
    if "script:" in block:
        assert re.search(r"^ +log:", block, re.MULTILINE)
        assert re.search(r"^ +conda:", block, re.MULTILINE)
        assert f"../scripts/{name.removesuffix('_model')}.py" in block


@pytest.mark.parametrize("rule", [*RULES, "report"])
def test_lives_where_its_name_says(rule):
    assert f'include: "workflow/rules/{rule}.smk"' in SNAKEFILE
    assert (ROOT / "workflow" / "scripts" / f"{rule}.py").is_file()


@pytest.mark.parametrize("rule", RULES)
def test_every_target_has_a_worker(rule):
    names = {name for name, _ in rules()}
    assert {rule, f"{rule}_model"} <= names


def test_naming_a_target_names_its_worker():
    known = ["convert", "convert_model", "convert_model_sharded", "generate_model"]
    assert workers(["convert", "results/m/x"], known) == {*known[:3], "results/m/x"}


@pytest.mark.parametrize(
    ("names", "passed_on"),
    [
        (["convert"], "convert"),
        (["convert_model"], "convert"),
        (["results/m/convert.json"], "convert"),
        (["results/m/converted/config.json"], "convert"),
        (["results/m/converted/pytorch_model.bin"], "pytorch_bin"),
        (["results/m/model/config.json"], "assemble"),
        (["results/m/generations.txt"], "generate"),
        (["results/m/parity/parity.txt", "convert"], "convert,parity"),
        (["results/m/inspection/inspection.txt"], "inspect"),
        (["results/report.html"], "report"),
    ],
)
def test_forced_names_reach_the_jobs(names, passed_on):
    assert forced(False, names) == passed_on


def test_force_all_reaches_every_job():
    assert forced(True, []) == "*"


@pytest.mark.parametrize("rule", READS)
def test_reads_are_the_receipts_the_rule_takes(rule):
    block = dict(rules())[f"{rule}_model"]
    inputs = re.search(r"^    input:\n((?:        .*\n)+)", block, re.MULTILINE).group(1)
    assert tuple(re.findall(r"/(\w+)\.json", inputs)) == READS[rule]
