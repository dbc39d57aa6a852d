"""On PYTHONPATH it makes every Python of a run believe what PRETEND lists, with commas between.

loopback: every host name leads to this machine. later: it is 400 days from now. no-locks: the file
system has no locks.
"""

import datetime
import errno
import fcntl
import os
import socket
import time

LATER = 400 * 24 * 3600  # seconds
resolve = socket.getaddrinfo


def loopback() -> None:
    socket.getaddrinfo = lambda host, *rest, **named: resolve("127.0.0.1", *rest, **named)


def later() -> None:
    clocks = {name: getattr(time, name) for name in ("time", "time_ns", "localtime", "gmtime")}
    time.time = lambda: clocks["time"]() + LATER
    time.time_ns = lambda: clocks["time_ns"]() + LATER * 10**9
    for name in ("localtime", "gmtime"):
        setattr(time, name, _shifted(clocks[name]))
    datetime.datetime = Later


def _shifted(clock):
    return lambda seconds=None: clock(time.time() if seconds is None else seconds)


class Later(datetime.datetime):
    """Python's own class with another idea of now."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)


def no_locks() -> None:
    def flock(handle, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = fcntl.lockf = flock


KNOWN = {"loopback": loopback, "later": later, "no-locks": no_locks}
for name in filter(None, os.environ.get("PRETEND", "").split(",")):
    KNOWN[name]()
