"""What a Python file says, without what does not matter: the digest of its tree, its imports.

Parsing sixty modules takes half a second, so what was found is remembered by stat in one file.
"""

import ast
import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megaport.store.atomic import replacing
from megaport.store.stat_cache import RACY_NS, stat_identity


@dataclass(frozen=True)
class Source:
    """`tree`: SHA-256 of the syntax tree; `imports`: (level, module, names) of each import."""

    tree: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]


class Sources:
    """Sources read in this process, and those an earlier one wrote down."""

    def __init__(self) -> None:
        self._known: dict[str, Source] = {}
        self._file: Path | None = None
        self._read = True
        self._grown = False

    def remember_in(self, file: Path) -> None:
        """Start from what `file` holds, once asked; `save` writes there."""
        self._file = file
        self._read = False

    def save(self) -> None:
        """Write down what was learnt since; a store that cannot be written is no harm."""
        if self._grown and self._file:
            known = {key: (source.tree, source.imports) for key, source in self._known.items()}
            with suppress(OSError), replacing(self._file) as temporary:
                temporary.write_text(json.dumps(known))
            self._grown = False

    def of(self, path: Path) -> Source:
        """Raises OSError and SyntaxError."""
        self._load()
        stat = path.stat()
        key = json.dumps([str(path), *stat_identity(stat)])
        if key in self._known:
            return self._known[key]
        tree = ast.parse(path.read_bytes(), filename=str(path))
        digest = hashlib.sha256(repr(_shape(tree)).encode()).hexdigest()
        source = Source(digest, tuple(_imports(tree)))
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > RACY_NS:
            self._known[key] = source
            self._grown = True
        return source

    def _load(self) -> None:
        """What an earlier process wrote down; a damaged file counts as empty."""
        if self._read or self._file is None:
            return
        self._read = True
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            for key, (tree, imports) in json.loads(self._file.read_bytes()).items():
                found = tuple((level, module, tuple(names)) for level, module, names in imports)
                self._known[key] = Source(tree, found)


def _imports(tree: ast.Module) -> list[tuple[int, str, tuple[str, ...]]]:
    found: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", tuple(a.name for a in node.names)))
    return found


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
