"""What a pickle gives that is no plain data: inert records of classes, or an error."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from megaport.errors import MegaportError, shown_text


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


class BadPickleError(MegaportError):
    """A pickle that is damaged, or that no checkpoint writer produces."""


class ForbiddenGlobalError(BadPickleError):
    """A pickle that names code which could do something when executed: an attack, as a rule."""


class PickleTooLargeError(BadPickleError):
    """A pickle that would take more time, memory or depth than any checkpoint needs."""


damaged = partial(
    BadPickleError,
    remedy="The file is damaged or was not written by torch: get it again from its source.",
)
too_large = partial(
    PickleTooLargeError,
    remedy="No Megatron checkpoint needs this much: ask where the file is from.",
)


def forbidden(where: str, name: str) -> ForbiddenGlobalError:
    return ForbiddenGlobalError(
        where,
        seen=f"a reference to {shown_text(name)}",
        expected="names of data classes only",
        remedy="Nothing was executed. Do not open this file with other tools; ask its source.",
    )
