"""The end of a run, and pages that would not be true any more."""

import json
import re
from pathlib import Path
from zipfile import ZipFile

import pytest

from megaport.report.model import ending

ARCHITECTURE = "models={{austen-tiny: {{architecture: {{{}}}}}}}"


def test_the_end_of_a_run_tells_where_the_model_is_and_how_to_load_it(model, tmp_path):
    page = tmp_path / "report.html"
    facts = [model(), model("new", difference=None)]
    told = list(ending(facts, 2, page))
    assert [line for line in told if line.startswith("parity")] == [f"parity: {facts[0].counts}"]
    assert told[-1] == "and 2 more"
    program = "\n".join(line.strip() for line in told[1:4])
    assert "AutoTokenizer" in compile(program, "told", "exec").co_names
    page.touch()
    assert list(ending([], 0, page)) == [f"report: {page}"]


def test_a_page_goes_when_what_it_shows_changes(built, snakemake):
    pages = [built / "results" / f"report.{kind}" for kind in ("html", "json")]
    for page in pages:
        page.touch()
    ran = snakemake(built, "assemble")
    assert ran.nothing and all(page.exists() for page in pages)
    ran = snakemake(built, "inspect", "--config", ARCHITECTURE.format("activation_function: gelu"))
    assert ran.status == 0, ran.text
    assert [page for page in pages if page.exists()] == []


def test_a_page_of_other_models_stays(built, snakemake):
    page = built / "results" / "report.json"
    page.write_text(json.dumps({"parameters": {"models": ["other"]}}))
    ran = snakemake(built, "inspect", "--config", ARCHITECTURE.format("activation_function: gelu"))
    assert ran.status == 0 and ran.computed == {"inspect"}, ran.text
    assert page.exists()


@pytest.mark.slow
def test_a_parity_that_failed_is_on_the_page_until_one_passes(built, snakemake):
    page, failed = built / "results/report.html", built / "results/austen-tiny/run/parity-failed"
    ran = snakemake(built, "parity", "--config", ARCHITECTURE.format("n_head: 5"))
    assert ran.status != 0 and f"report: {page.relative_to(built)}" in ran.text
    told = page.read_text()
    assert told.index("<strong>failed") < told.index("Do not use it") < told.index("<h3>")
    ran = snakemake(built, "parity")
    assert ran.status == 0, ran.text
    assert not page.exists() and not list(failed.glob("*"))


def test_snakemakes_own_report_holds_what_people_look_at(built, snakemake):
    ran = snakemake(built, "assemble", "--report", "made.zip")
    assert ran.status == 0, ran.text
    names = {Path(name).name for name in ZipFile(built / "made.zip").namelist()}
    assert {"README.md", "inspection.txt"} <= names
    rules = (built / "workflow" / "rules").glob("*.smk")
    marked = re.findall(
        r'report\(\s*"results/(?:{model}/)?([\w./]+)"', "".join(p.read_text() for p in rules)
    )
    assert set(marked) >= {
        "inspection/inspection.txt", "model/README.md", "generations.txt", "parity/parity.txt",
        "parity/layers.svg", "parity/positions.svg", "benchmark/benchmark.txt",
        "benchmark/throughput.svg", "benchmark/engines.svg", "report.html",
    }  # fmt: skip


def test_the_graph_of_rules_can_be_drawn(built, snakemake):
    ran = snakemake(built, "all", "--rulegraph")
    assert ran.status == 0 and ran.text.count("parity_model") == 1
