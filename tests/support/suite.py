"""What the suite's sources say of its tests, without running or importing any."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SKIPS = {"skip", "skipif", "xfail", "importorskip"}


@dataclass(frozen=True)
class Defined:
    """A test function. `skipped`: it says itself that it may not run; `always`: every default
    run collects it, wherever it is."""

    file: str
    skipped: bool
    always: bool


def defined_under(folder: Path) -> dict[str, list[Defined]]:
    """Every test function under `folder` by name."""
    left_out = _left_out(folder)
    found: dict[str, list[Defined]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        around = _marks(module.body) | ({"sometimes"} if path in left_out else set())
        for function, marks in _functions(module.body, around):
            skipped = bool(SKIPS & (marks | _names(function)))
            always = not {"slow", "sometimes"} & marks
            found[function.name].append(Defined(str(path.relative_to(folder)), skipped, always))
    return found


def _functions(
    body: list[ast.stmt], marks: set[str]
) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, set[str]]]:
    """Test functions with the marks on them and around them; "sometimes" below a condition."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("test_"):
                yield node, marks | set().union(*map(_names, node.decorator_list))
        elif isinstance(node, ast.ClassDef):
            own = _marks(node.body) | set().union(*map(_names, node.decorator_list))
            yield from _functions(node.body, marks | own)
        elif isinstance(node, ast.If | ast.Try):
            yield from _functions([*node.body, *node.orelse], marks | {"sometimes"})


def _marks(body: list[ast.stmt]) -> set[str]:
    """What stands in `pytestmark`, and what a module or class calls that skips all of it."""
    found: set[str] = set()
    for node in body:
        names = _names(node) if isinstance(node, ast.Assign | ast.Expr) else set()
        if "pytestmark" in names or ("pytest" in names and SKIPS & names):
            found |= names
    return found


def _names(node: ast.AST) -> set[str]:
    """Names and attributes in `node`. Marks within parametrize are one case's and do not count."""
    found: set[str] = set()
    waiting: list[ast.AST] = [node]
    while waiting:
        at = waiting.pop()
        if isinstance(at, ast.Attribute):
            found.add(at.attr)
        elif isinstance(at, ast.Name):
            found.add(at.id)
        inner = list(ast.iter_child_nodes(at))
        one_case = isinstance(at, ast.Call) and _ends(at.func, "parametrize")
        waiting += [at.func] if one_case else inner
    return found


def _ends(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name


def _left_out(folder: Path) -> set[Path]:
    """Files that a conftest.py may take out of the collection."""
    found: set[Path] = set()
    for conftest in folder.rglob("conftest.py"):
        for node in ast.parse(conftest.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and "collect_ignore" in _names(node):
                strings = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
                found |= {conftest.parent / s for s in strings if isinstance(s, str)}
    return found
