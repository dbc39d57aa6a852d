"""The commands that look after a store: verify, gc, du."""

import argparse
from pathlib import Path

from megaport.store.collect import find_garbage, remove
from megaport.store.store import Store
from megaport.store.verify import verify

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
    if not given.store.is_dir():
        raise SystemExit(f"error: no store at {given.store}")
    return Store(given.store)


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
    garbage = find_garbage(store, given.results, given.grace * HOUR)
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
