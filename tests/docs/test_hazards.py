"""docs/hazards.md: every row has a test, and every test it names exists and runs."""

import re

import pytest

from support.checkout import ROOT
from support.suite import Defined, defined_under

PAGE = (ROOT / "docs" / "hazards.md").read_text(encoding="utf-8")
SUITE = defined_under(ROOT / "tests")
SECTIONS = {
    "Download": 17,
    "Archive": 13,
    "Checkpoint pickle": 19,
    "Checkpoint content": 13,
    "Store and runs": 12,
    "Output": 6,
}  # and how many rows each has at least


HEAD_ROW = re.compile(r"\| case \||\|---")


def rows(page: str) -> dict[str, list[list[str]]]:
    """The cells of every row of a table of cases, by the heading above it."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in page.splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("|") and heading in SECTIONS and not HEAD_ROW.match(line):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.setdefault(heading, []).append(cells)
    return found


def problems(page: str, suite: dict[str, list[Defined]]) -> list[str]:
    """What is wrong with the page, a line each."""
    found = []
    for heading, cells in ((h, c) for h, table in rows(page).items() for c in table):
        names = re.findall(r"`(test_\w+)`", cells[-1])
        if len(cells) != 3 or not all(cells) or not names:
            found.append(f"{heading}: no test, or no outcome: {cells}")
        elif not any(test.always for name in names for test in suite.get(name, ())):
            found.append(f"{heading}: no test that every run collects: {cells[0]}")
    for name in sorted(set(re.findall(r"`(test_\w+)`", page))):
        tests = suite.get(name, [])
        if len(tests) != 1:
            found.append(f"{name}: defined {len(tests)} times")
        found += [f"{name}: skipped in {test.file}" for test in tests if test.skipped]
    return found


def test_every_row_has_a_test_that_exists_and_runs():
    assert problems(PAGE, SUITE) == []


def test_no_section_or_row_was_lost():
    seen = {heading: len(table) for heading, table in rows(PAGE).items()}
    assert list(seen) == list(SECTIONS)
    assert [name for name, least in SECTIONS.items() if seen[name] < least] == []


SOUND = Defined("test_x.py", skipped=False, always=True)
HEAD = "## Download\n\n| case | what happens | tests |\n|---|---|---|\n"


@pytest.mark.parametrize(
    ("row", "suite", "told"),
    [
        ("| a | b | |", {}, "no test"),
        ("| a | | `test_x` |", {"test_x": [SOUND]}, "no outcome"),
        ("| a | b | `test_x` |", {}, "defined 0 times"),
        ("| a | b | `test_x` |", {"test_x": [SOUND, SOUND]}, "defined 2 times"),
        ("| a | b | `test_x` |", {"test_x": [Defined("f", True, True)]}, "skipped in f"),
        ("| a | b | `test_x` |", {"test_x": [Defined("f", False, False)]}, "every run collects"),
        ("| a | b | `test_x` |", {"test_x": [SOUND]}, None),
    ],
)
def test_the_check_itself_fails_where_it_should(row, suite, told):
    found = problems(HEAD + row, suite)
    assert any(told in line for line in found) if told else found == []


SOURCES = {
    "def test_a(): pass": (False, True),
    "import pytest\n@pytest.mark.skip\ndef test_a(): pass": (True, True),
    "import pytest\n@pytest.mark.skipif(True, reason='x')\ndef test_a(): pass": (True, True),
    "import pytest\n@pytest.mark.xfail\ndef test_a(): pass": (True, True),
    "import pytest\ndef test_a():\n    pytest.skip('x')": (True, True),
    "import pytest\npytestmark = pytest.mark.skip\ndef test_a(): pass": (True, True),
    "import pytest\npytest.importorskip('x')\ndef test_a(): pass": (True, True),
    "import pytest\nx = pytest.importorskip('x')\ndef test_a(): pass": (True, True),
    "import pytest\n@pytest.mark.slow\ndef test_a(): pass": (False, False),
    "import pytest\n@pytest.mark.skip\nclass TestA:\n    def test_a(self): pass": (True, True),
    "if x:\n    def test_a(): pass": (False, False),
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_suite_is_read_as_pytest_would_take_it(tmp_path, source):
    (tmp_path / "test_one.py").write_text(source)
    (test,) = defined_under(tmp_path)["test_a"]
    assert (test.skipped, test.always) == SOURCES[source]


def test_files_that_may_be_left_out_are_known(tmp_path):
    (tmp_path / "conftest.py").write_text('collect_ignore = [] if x else ["test_one.py"]')
    (tmp_path / "test_one.py").write_text("def test_a(): pass")
    assert not defined_under(tmp_path)["test_a"][0].always
