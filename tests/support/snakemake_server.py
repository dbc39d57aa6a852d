"""Runs Snakemake's own command line in forks of one warm process, one request after another.

A start of Snakemake is mostly imports; a fork of a process that has imported it needs none. What it
does then is the command line's own code, profiles and all.
"""

import json
import os
import runpy
import signal
import sys
import time
from contextlib import suppress

# Imported for the forks to find ready.
import pydantic  # noqa: F401
import smart_open  # noqa: F401
import snakemake.cli
import snakemake.scheduling.greedy
import snakemake.utils
import snakemake.workflow

DYING = f"{os.path.dirname(__file__)}/dying/sitecustomize.py"  # noqa: PTH120


def child(request) -> None:
    """In the fork: become the command line, with its output in a file."""
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    if "DIE_AT" in os.environ:
        os.setsid()  # a group of its own, to be killed whole
        runpy.run_path(DYING)
    sys.argv = ["snakemake", *request["arguments"]]
    snakemake.cli.main(sys.argv[1:])


def bury(group: int) -> None:
    """A job may outlive its Snakemake for a moment, and publish; then it goes as well."""
    time.sleep(0.3)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def serve() -> None:
    """Answer each line of JSON on stdin with an exit status on stdout."""
    snakemake.cli.get_argument_parser()  # imports the plugins
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            child(request)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            bury(process)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
