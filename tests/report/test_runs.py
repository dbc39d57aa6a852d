"""The end of a run, and pages that would not be true any more."""

import pytest

from megaport.report.words import ending

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


@pytest.mark.slow
def test_a_parity_that_failed_is_on_the_page(built, snakemake):
    ran = snakemake(built, "report", "--config", ARCHITECTURE.format("n_head: 5"))
    assert ran.status != 0
    page = (built / "results" / "report.html").read_text()
    assert page.index("<strong>failed") < page.index("<h3>")
    assert not (built / "results" / "report.json").exists()
    again = snakemake(built, "report")
    assert again.status == 0, again.text
    assert "<strong>passed" in (built / "results" / "report.html").read_text()
    assert not list((built / "results" / "austen-tiny" / "run").glob("parity-failed/*"))
