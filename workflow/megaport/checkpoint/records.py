"""What a pickle says of classes that are not data: a name and what it was given, inert."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Record:
    """An object of class `name` (module.qualname) that was never imported nor made.

    `args` are its constructor's arguments, `state` what BUILD would have set (a Namespace's or a
    dataclass's attributes: a dict), `contents` what was appended (list) or set (dict) by key.
    Compared and hashed by identity, so that a Record may be a dict key. A Record may contain
    itself: code that walks a tree treats it as a leaf unless it knows the class.
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    contents: list[Any] | dict[Any, Any] | None = None

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Name(Record):
    """A class, function or constant that the pickle mentions by name, such as `torch.float16`."""

    __slots__ = ()


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Unreadable(Record):
    """A tensor whose values this reader cannot give; `reason` says why, as in "found {reason}".

    `name` is its dtype, storage or the function that would make it, `shape` what it was saved
    with, where that is known.
    """

    reason: str = ""
    shape: tuple[int, ...] | None = None
