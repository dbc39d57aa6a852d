"""The commands that look after a store: re-hash it, remove what nothing named reaches, measure."""

import argparse
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from megaport.store.actions import ReceiptError, read_receipt
from megaport.store.content import sha256_file
from megaport.store.disk import is_held, left_over
from megaport.store.store import Store

HOUR = 3600.0


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give a parser the commands; each sets `command`, a function of what was parsed."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, text in (
        ("verify", _verify, "re-hash every blob and follow every action"),
        ("gc", _gc, "list what no given results folder reaches; --delete removes it"),
        ("du", _du, "how much the store holds"),
    ):
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("store", type=Path, help="the folder that `store:` names")
        sub.set_defaults(command=command)
        if name == "gc":
            sub.add_argument("results", type=Path, nargs="+", help="results folders to keep")
            sub.add_argument("--delete", action="store_true", help="act; otherwise only list")
            sub.add_argument(
                "--grace", type=float, default=1.0, metavar="HOURS", help="keep younger (1)"
            )


def _store(given: argparse.Namespace) -> Store:
    store = Store(given.store)
    if not store.blobs.folder.is_dir() and not store.actions.folder.is_dir():
        raise SystemExit(f"error: no store at {given.store}: it has no sha256/ and no actions/")
    return store


def _verify(given: argparse.Namespace) -> int:
    found = verify(_store(given))
    print(f"{found.blobs} blobs, {found.actions} actions")
    for digest in found.damaged:
        print(f"damaged blob {digest}")
    for key in found.dangling:
        print(f"action {key} names a blob that is missing or damaged")
    print("clean" if found.clean else "the next run rebuilds what it needs of these")
    return 0 if found.clean else 1


def _gc(given: argparse.Namespace) -> int:
    store = _store(given)
    missing = [folder for folder in given.results if not folder.is_dir()]
    if missing:
        raise SystemExit(f"error: no results folder {missing[0]}; nothing was removed")
    if not any(_receipts(given.results)):
        print(f"no receipt in {', '.join(map(str, given.results))}: nothing there keeps anything")
    try:
        garbage = find_garbage(store, given.results, given.grace * HOUR)
    except ReceiptError as error:
        # It may be a file of the user's own, in a folder that is not results/.
        remedy = "Name the folder that holds the models' folders. Nothing was removed."
        raise ReceiptError(error.thing, error.seen, error.expected, remedy) from None
    for path in garbage.paths:
        print(path.relative_to(store.root))
    if given.delete:
        remove(garbage)
    verb = "removed" if given.delete else "would remove (--delete)"
    print(f"{verb} {len(garbage.paths)} files and folders, {garbage.size:,} bytes")
    return 0


def _du(given: argparse.Namespace) -> int:
    store = _store(given)
    sizes = [path.stat().st_size for path in store.blobs]
    print(f"blobs    {len(sizes):8,}  {sum(sizes):16,} bytes")
    print(f"actions  {len(list(store.actions)):8,}")
    return 0


@dataclass(frozen=True)
class Damage:
    """`damaged`: blobs that cannot be read or whose bytes are not their name; `dangling`: actions
    that name one of these or a missing one, or whose entry cannot be read. All are misses: the next
    run rebuilds."""

    blobs: int
    actions: int
    damaged: list[str]
    dangling: list[str]

    @property
    def clean(self) -> bool:
        return not self.damaged and not self.dangling


def verify(store: Store) -> Damage:
    """Reads every byte of the store; trusts no remembered digest."""
    sound = {path.name: _holds(path) for path in store.blobs}
    good = {digest for digest, holds in sound.items() if holds}
    damaged = sorted(set(sound) - good)
    dangling = []
    keys = list(store.actions)
    for key in keys:
        result = store.actions.get(key)
        wanted = {content.sha256 for content in result.outputs.values()} if result else {None}
        if not wanted <= good:
            dangling.append(key)
    return Damage(len(sound), len(keys), damaged, dangling)


def _holds(blob: Path) -> bool:
    try:
        return sha256_file(blob) == blob.name
    except OSError:
        return False


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
        keys.add(receipt.action.key)
        for files in (receipt.outputs, *receipt.action.inputs.values()):
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
