"""Remove what no named result reaches: blobs, actions, remembered digests, left-over workspaces."""

import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from megaport.store.atomic import left_over
from megaport.store.locks import is_held
from megaport.store.receipts import read_receipt
from megaport.store.store import Store


@dataclass(frozen=True)
class Garbage:
    """What may go: files and folders, and how many bytes they hold."""

    paths: list[Path]
    size: int


def find_garbage(store: Store, results: Iterable[Path], grace_seconds: float) -> Garbage:
    """What none of the receipts under `results` reaches and nobody touched for `grace_seconds`.

    Trust records stay. Workspaces and downloads whose owner lives stay. The grace keeps what a run
    has made and not named yet. Raises ReceiptError for a receipt that cannot be read: its content
    would go.
    """
    youngest = time.time() - grace_seconds
    blobs, keys = _reached(results)
    blobs |= _in_use(store, youngest)
    candidates = [path for path in store.blobs if path.name not in blobs]
    candidates += [store.actions.path(key) for key in store.actions if key not in keys]
    candidates += _abandoned(store.root / "tmp")
    candidates += left_over(store.actions.folder)
    candidates += [p for p in (store.root / "stat").glob("??/*") if p.is_file()]
    candidates += [p for p in (store.root / "partial").glob("*") if p.is_file() and not is_held(p)]
    paths = [path for path in candidates if _changed(path) <= youngest]
    return Garbage(paths, sum(_size(path) for path in paths))


def remove(garbage: Garbage) -> None:
    """Remove it. What somebody else removed meanwhile is as good as removed."""
    for path in garbage.paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _reached(results: Iterable[Path]) -> tuple[set[str], set[str]]:
    blobs: set[str] = set()
    keys: set[str] = set()
    for path in _receipts(results):
        receipt = read_receipt(path)
        keys.add(receipt.key)
        for files in (receipt.outputs, *receipt.inputs.values()):
            blobs.update(content.sha256 for content in files.values())
    return blobs, keys


def _in_use(store: Store, since: float) -> set[str]:
    """The blobs of actions that somebody wrote or found since then."""
    young = (key for key in store.actions if _changed(store.actions.path(key)) > since)
    found = (store.actions.get(key) for key in young)
    return {item.sha256 for result in found if result for item in result.outputs.values()}


def _receipts(results: Iterable[Path]) -> Iterator[Path]:
    """But what lies in results/run/ is of the machine: times and memory."""
    for folder in results:
        models = (path for path in folder.glob("*/*.json") if path.parent != folder / "run")
        yield from sorted([*folder.glob("*.json"), *models])


def _abandoned(folder: Path) -> list[Path]:
    locks = {path.with_suffix(".lock") for path in folder.glob("*")}
    dead = [lock for lock in locks if not is_held(lock)]
    return [path for lock in dead for path in (lock.with_suffix(""), lock) if path.exists()]


def _changed(path: Path) -> float:
    """When it was last changed, in seconds; what vanished meanwhile counts as just now."""
    try:
        return path.lstat().st_ctime
    except FileNotFoundError:
        return time.time()


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
    return path.lstat().st_size
