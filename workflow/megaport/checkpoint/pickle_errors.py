"""What can be wrong with a pickle."""

from functools import partial

from megaport.errors import MegaportError, shown_text


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
