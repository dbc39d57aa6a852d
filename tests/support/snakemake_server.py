"""Runs Snakemake's own command line in forks of one warm process, one request after another.

A start of Snakemake is mostly imports, and a run with jobs ends with a second of idle time for its
limit of jobs a second; a fork of a process that has imported it, without that limit, has neither.
What it does in between is the command line's own code, profiles and all.
"""

import json
import os
import sys

# Imported for the forks to find ready.
import pydantic  # noqa: F401
import smart_open  # noqa: F401
import snakemake.cli
import snakemake.scheduling.greedy
import snakemake.utils
import snakemake.workflow

parse = snakemake.cli.parse_args


def unlimited(argv):
    """The command line's settings without the limit on jobs a second."""
    parser, given = parse(argv)
    given.max_jobs_per_timespan = None
    return parser, given


def child(request) -> None:
    """In the fork: become the command line, with its output in a file."""
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    sys.argv = ["snakemake", *request["arguments"]]
    snakemake.cli.parse_args = unlimited
    snakemake.cli.main(sys.argv[1:])


def serve() -> None:
    """Answer each line of JSON on stdin with an exit status on stdout."""
    snakemake.cli.get_argument_parser()  # imports the plugins
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            child(json.loads(line))
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
