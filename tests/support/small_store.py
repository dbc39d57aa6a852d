"""One small action with one output, for tests of the store's parts."""

from pathlib import Path

from megaport.store.actions import Action, Result
from megaport.store.blobs import Content
from megaport.store.store import Made, Store

ACTION = Action("convert", {"in": {"x": Content("a" * 64, 1)}}, {"p": 1}, "code", {"numpy": "2"})


def build(store: Store, content: bytes = b"hello", key: str = ACTION.key) -> Result:
    with store.workspace() as folder:
        made = folder / "out.txt"
        made.write_bytes(content)
        return store.record(key, {"out.txt": made}, Made(facts={"n": 1}), {"wall_seconds": 1})


def rot(path: Path, content: bytes) -> None:
    """Other bytes in a blob, as a failing disk or a bold user would leave."""
    path.chmod(0o644)
    path.write_bytes(content)
