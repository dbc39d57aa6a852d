"""What the long checks behind make targets share: run a command, demand something, say so."""

import subprocess
import sys

PASSED: list[str] = []


def call(command: list, *, timeout: float = 3600, status: int = 0, **options: object) -> str:
    """All that a command printed; where it ends with another status, print that and stop."""
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=timeout, check=False, **options,
    )  # fmt: skip
    if done.returncode != status:
        sys.exit(f"{done.stdout}\nexit status {done.returncode}, expected {status}: {command}")
    return done.stdout


def demand(true: bool, what: str) -> None:
    if not true:
        sys.exit(f"not so: {what}")
    PASSED.append(what)
    say(f"  ok: {what}")


def say(text: str) -> None:
    print(text, flush=True)


def summary() -> None:
    """The count, as a test suite ends."""
    print(f"{len(PASSED)} passed, 0 failed")
