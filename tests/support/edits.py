"""Changes of what files hold before they are written, for `edit` of `write_checkpoint`."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch

GONE = object()
Edit = Callable[[str, dict[str, Any]], None]


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


def twin(file: str, *way: str, of: str) -> Edit:
    """In files whose names start with `file` the last key on the way holds what `of` holds."""

    def edit(name: str, content: dict[str, Any]) -> None:
        if name.startswith(file):
            items = content[way[0]] if way[1:] else content
            items[way[-1]] = items[of]

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
