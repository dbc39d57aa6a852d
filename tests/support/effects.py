"""Watches the interpreter itself for anything that executed code could not do unseen."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_EFFECTS = ("import", "exec", "compile", "open", "os.", "subprocess", "socket", "ctypes", "pty")
_seen: list[str] = []
_watching = [False]


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _watching[0] and event.startswith(_EFFECTS):
        _seen.append(event)


sys.addaudithook(_audit)


@contextmanager
def no_effect() -> Iterator[None]:
    """`AssertionError` when the body imports, compiles, opens or starts anything at all."""
    _seen.clear()
    modules = set(sys.modules)
    _watching[0] = True
    try:
        yield
    finally:
        _watching[0] = False
    assert not _seen, _seen
    assert set(sys.modules) == modules
