"""What files of ours import, told without importing anything."""

import ast
from collections.abc import Iterator
from pathlib import Path

from support.checkout import ROOT

WORKFLOW = ROOT / "workflow"


def imports(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """The names that a file imports, and with `lazy` those that its functions do when called."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(name: str, top: Path = WORKFLOW) -> list[Path]:
    """The file below `top` that a dotted name is the module of; none where it is another's."""
    stem = top.joinpath(*name.split("."))
    return [p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()]
