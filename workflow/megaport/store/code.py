"""Digest of the code that computes a step: the modules it reaches, as syntax trees.

Comments, formatting and docstrings do not count; a changed helper three imports away does.
Imports are followed statically, so a module may be imported inside a function and still counts.
"""

import ast
import hashlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

LIBRARY = "megaport"
WORKFLOW = Path(__file__).resolve().parents[2]
# The store decides when to compute, never what; counting it would rebuild the world at each fix.
UNCOUNTED = f"{LIBRARY}.store"


@cache
def closure(script: Path) -> tuple[dict[str, Path], frozenset[str]]:
    """Library modules `script` reaches, by name, and the third-party packages these import."""
    modules: dict[str, Path] = {}
    packages: set[str] = set()
    waiting = [_imports(script, package="")]
    while waiting:
        for name in waiting.pop():
            root = name.partition(".")[0]
            if root != LIBRARY:
                packages.add(root)
                continue
            for module, path in _library_files(name):
                if module not in modules:
                    modules[module] = path
                    waiting.append(_imports(path, package=_package_of(module, path)))
    return dict(sorted(modules.items())), frozenset(packages - sys.stdlib_module_names)


@cache
def code_digest(script: Path) -> str:
    """SHA-256 over the syntax trees of `script` and of the library modules it reaches."""
    modules, _ = closure(script)
    total = hashlib.sha256(_tree_digest(script).encode())
    for name, path in modules.items():
        total.update(f"{name} {_tree_digest(path)}\n".encode())
    return total.hexdigest()


def forget() -> None:
    """Read the files again at the next call: a long job asks whether its code has changed."""
    for function in (closure, code_digest, _tree, _tree_digest):
        function.cache_clear()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


@cache
def _tree_digest(path: Path) -> str:
    return hashlib.sha256(repr(_shape(_tree(path))).encode()).hexdigest()


def _shape(node: Any) -> Any:
    """A node without positions, docstrings and empty fields, which differ between Pythons."""
    if isinstance(node, list):
        return [_shape(item) for item in node]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, getattr(node, name, None)) for name in node._fields]
    shaped = [
        (name, _shape(_without_docstring(node, name, value)))
        for name, value in fields
        if value is not None and value != []
    ]
    return (type(node).__name__, shaped)


def _without_docstring(node: ast.AST, name: str, value: Any) -> Any:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if name == "body" and isinstance(node, documented) and ast.get_docstring(node, clean=False):
        return value[1:]
    return value


def _imports(path: Path, package: str) -> list[str]:
    """Dotted names a file imports: `from a import b` gives both a and a.b."""
    found: list[str] = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parts, *filter(None, [node.module])])


def _package_of(module: str, path: Path) -> str:
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def _library_files(name: str) -> list[tuple[str, Path]]:
    """The module and every package above it, whose __init__ runs too."""
    if name == UNCOUNTED or name.startswith(f"{UNCOUNTED}."):
        return []
    parts = name.split(".")
    found: list[tuple[str, Path]] = []
    for length in range(1, len(parts) + 1):
        stem = WORKFLOW.joinpath(*parts[:length])
        for path in (stem / "__init__.py", stem.with_suffix(".py")):
            if path.is_file():
                found.append((".".join(parts[:length]), path))
    return found
