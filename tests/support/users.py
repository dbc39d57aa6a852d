"""Becoming another user, for tests of what users share."""

import os
import tempfile
import traceback
from collections.abc import Callable
from functools import cache

NOBODY = 65534
WHY_NOT = (
    "users: this one cannot become another (root can); "
    "tests of a store that several users share are not collected"
)


@cache
def can_be_another() -> bool:
    """Whether files may be given to another user here; in some containers root may not either."""
    try:
        with tempfile.NamedTemporaryFile() as file:
            os.chown(file.name, NOBODY, NOBODY)
    except OSError:
        return False
    return os.geteuid() == 0


def as_nobody(function: Callable[[], object]) -> int:
    """Call `function` in a fork that has given up root; the exit status, 0 where it returned."""
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
