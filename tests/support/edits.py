"""Changes of what files hold before they are written (`edit`), and of the files (`change`)."""

import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

GONE = object()
RANK = "model_optim_rng.pt"
Edit = Callable[[str, dict[str, Any]], None]
Change = Callable[[Path], None]


def at(file: str, *way: str, to: Any) -> Edit:
    """In files whose names start with `file` the value on this way of keys becomes `to`.

    That is a value, what a function makes of the value, or GONE.
    """

    def edit(name: str, content: dict[str, Any]) -> None:
        if not name.startswith(file):
            return
        items: Any = content
        for key in way[:-1]:
            items = vars(items[key]) if isinstance(items[key], Namespace) else items[key]
        value = to(items.get(way[-1])) if callable(to) else to
        items.pop(way[-1], None)
        if value is not GONE:
            items[way[-1]] = value

    return edit


def renamed(file: str, old: str, new: str) -> Edit:
    """In files whose names start with `file` a key is called otherwise."""

    def edit(name: str, content: dict[str, Any]) -> None:
        if name.startswith(file):
            content[new] = content.pop(old)

    return edit


def added(key: str) -> Edit:
    """A tensor more, wherever a layout keeps them."""

    def edit(name: str, content: dict[str, Any]) -> None:
        if name == "entries":
            content[key] = [((0,), torch.ones(3))]
        elif isinstance(content.get("model"), dict):
            content["model"][key] = torch.ones(3)
        elif name.startswith("layer_03"):
            content[key] = torch.ones(3)

    return edit


def every(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(name: str, content: dict[str, Any]) -> None:
        for one in edits:
            one(name, content)

    return edit


def lost(*names: str) -> Change:
    """Of each name, a pattern, the first file is gone."""

    def lose(path: Path) -> None:
        for name in names:
            next(path.rglob(name)).unlink()

    return lose


def copied(name: str, to: str) -> Change:
    """The first file of this name, a pattern, is also the file `to`."""

    def copy(path: Path) -> None:
        there = path / to
        there.parent.mkdir(exist_ok=True)
        shutil.copy(next(path.rglob(name)), there)

    return copy


def swapped(one: str, other: str) -> Change:
    """Two folders of the iteration, each under the other's name."""

    def swap(path: Path) -> None:
        here = path / "iter_0000007"
        (here / one).rename(here / "aside")
        (here / other).rename(here / one)
        (here / "aside").rename(here / other)

    return swap
