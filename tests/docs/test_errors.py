"""Every error class a user can meet stands in docs/use/errors.md, and nothing else does."""

import ast
import re

from support.checkout import ROOT

LIBRARY = ROOT / "workflow" / "megaport"
BASE = "MegaportError"


def classes() -> dict[str, ast.ClassDef]:
    nodes = (
        node
        for path in LIBRARY.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    return {node.name: node for node in nodes}


def errors() -> set[str]:
    known = classes()

    def is_error(name: str) -> bool:
        bases = [base.id for base in known[name].bases if isinstance(base, ast.Name)]
        return any(base == BASE or (base in known and is_error(base)) for base in bases)

    return {name for name in known if is_error(name)}


def rows() -> dict[str, list[str]]:
    table = (ROOT / "docs" / "use" / "errors.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {row[0]: row[1:] for row in cells if re.fullmatch(r"\w+Error", row[0])}


def test_every_error_is_documented_and_every_documented_one_exists():
    assert errors() == set(rows())


def test_every_row_has_a_cause_and_a_remedy():
    assert [name for name, row in rows().items() if len(row) != 2 or not all(row)] == []


def test_every_error_class_says_what_it_means():
    known = classes()
    assert [name for name in errors() if not ast.get_docstring(known[name])] == []
