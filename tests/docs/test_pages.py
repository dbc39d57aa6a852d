"""Pages: what they link to exists, every test that hazards.md names, and every file of ADR 0004."""

import ast
import re

import pytest

from support.checkout import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
HAZARDS = (DOCS / "maintainers" / "hazards.md").read_text(encoding="utf-8")
TABLES = HAZARDS.partition("## How much")[0].splitlines()
CASES = [row for row in TABLES if row.startswith("| ") and not row.startswith("| case |")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not re.match(r"\w+:", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_hazard_names_a_test_that_exists():
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    defined = re.findall(r"^\s*def (test_\w+)\(", "\n".join(sources), re.MULTILINE)
    named = set(re.findall(r"`(test_\w+)`", HAZARDS))
    assert CASES and [row for row in CASES if not re.search(r"`test_\w+`", row)] == []
    assert {name for name in named if defined.count(name) != 1} == set()


def first_sentence(file):
    told = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return re.split(r"\.(?: |$)", " ".join(told.split()))[0]


def test_adr_4_tells_every_file_by_its_first_sentence():
    library = ROOT / "workflow" / "megaport"
    told = {}
    for line in (DOCS / "adr" / "0004-a-smaller-house.md").read_text().splitlines():
        if folder := re.match(r"\*\*`(?:megaport/|(.+?/))`", line):
            here = library / (folder[1] or "")
        elif file := re.fullmatch(r"\| `(\w+\.py)` \| (.+) \|", line):
            told[here / file[1]] = file[2]
    files = [path for path in library.rglob("*.py") if path.name != "__init__.py"]
    assert told == {path: first_sentence(path) for path in files}
