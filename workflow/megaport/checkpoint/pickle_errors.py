"""What can be wrong with a pickle."""

from megaport.errors import MegaportError


class BadPickleError(MegaportError):
    """A pickle that is damaged, or that no checkpoint writer produces."""


class ForbiddenGlobalError(BadPickleError):
    """A pickle that names code which could do something when executed: an attack, as a rule."""


class PickleTooLargeError(BadPickleError):
    """A pickle that would take more time, memory or depth than any checkpoint needs."""


def shown(text: object) -> str:
    """At most 80 characters of a value from a file, printable, for an error message."""
    if isinstance(text, str | bytes | int | float):
        return repr(text if isinstance(text, float) else _start(text))[:80]
    return f"a {type(text).__name__}"


def _start(value: str | bytes | int) -> str | bytes | int:
    if isinstance(value, int):
        return value if value.bit_length() < 200 else "a huge integer"
    return value[:80]


def forbidden(where: str, name: str) -> ForbiddenGlobalError:
    return ForbiddenGlobalError(
        where,
        seen=f"a reference to {shown(name)}",
        expected="names of data classes only",
        remedy="Nothing was executed. Do not open this file with other tools; ask its source.",
    )


def damaged(where: str, seen: str, expected: str) -> BadPickleError:
    return BadPickleError(
        where,
        seen=seen,
        expected=expected,
        remedy="The file is damaged or was not written by torch: get it again from its source.",
    )


def too_large(where: str, seen: str, expected: str) -> PickleTooLargeError:
    return PickleTooLargeError(
        where,
        seen=seen,
        expected=expected,
        remedy="No Megatron checkpoint needs this much: ask where the file is from.",
    )
