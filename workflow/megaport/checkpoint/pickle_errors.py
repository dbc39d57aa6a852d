"""What can be wrong with a pickle."""

from megaport.errors import MegaportError, shown_text


class BadPickleError(MegaportError):
    """A pickle that is damaged, or that no checkpoint writer produces."""


class ForbiddenGlobalError(BadPickleError):
    """A pickle that names code which could do something when executed: an attack, as a rule."""


class PickleTooLargeError(BadPickleError):
    """A pickle that would take more time, memory or depth than any checkpoint needs."""


def forbidden(where: str, name: str) -> ForbiddenGlobalError:
    return ForbiddenGlobalError(
        where,
        seen=f"a reference to {shown_text(name)}",
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
