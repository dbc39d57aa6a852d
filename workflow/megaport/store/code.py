"""Digest of the code that computes a step: the modules it reaches, as syntax trees.

Comments, formatting and docstrings do not count; a changed helper three imports away does.
Imports are followed statically, so a module may be imported inside a function and still counts.
"""

import hashlib
import sys
from functools import cache
from pathlib import Path

from megaport.store.sources import Sources

LIBRARY = "megaport"
WORKFLOW = Path(__file__).resolve().parents[2]
# The store decides when to compute, never what; counting it would rebuild the world at each fix.
UNCOUNTED = f"{LIBRARY}.store"
SOURCES = Sources()


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
    total = hashlib.sha256(SOURCES.of(script).tree.encode())
    for name, path in modules.items():
        total.update(f"{name} {SOURCES.of(path).tree}\n".encode())
    return total.hexdigest()


def forget() -> None:
    """Look at the files again at the next call: a long job asks whether its code has changed."""
    closure.cache_clear()
    code_digest.cache_clear()
    _library_files.cache_clear()


def _imports(path: Path, package: str) -> list[str]:
    """Dotted names a file imports: `from a import b` gives both a and a.b."""
    found: list[str] = []
    for level, module, names in SOURCES.of(path).imports:
        base = _absolute(level, module, package)
        found += [base, *(f"{base}.{name}" for name in names)]
    return found


def _absolute(level: int, module: str, package: str) -> str:
    if not level:
        return module
    parts = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*parts, *filter(None, [module])])


def _package_of(module: str, path: Path) -> str:
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


@cache
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
