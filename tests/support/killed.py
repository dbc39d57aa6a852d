"""A whole run that dies by kill -9 at one of its changes of the disk (see dying/)."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from support.checkout import ENVIRONMENT, SNAKEMAKE

DYING = Path(__file__).with_name("dying")


def run_and_die(folder: Path, counter: Path, at: int, who: str, *arguments: str) -> bool:
    """Run, dying at the `at`-th change; whether it died. `counter` then has a byte a change."""
    counter.unlink(missing_ok=True)
    dying = {"DIE_AT": str(at), "DIE_WHO": who, "DIE_COUNT": str(counter)}
    run = subprocess.Popen(
        [SNAKEMAKE, "-c1", *arguments],
        cwd=folder,
        env=ENVIRONMENT | dying | {"PYTHONPATH": str(DYING)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    status = run.wait(120)
    time.sleep(0.3)  # a job may outlive Snakemake for a moment, and publish
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    return status != 0
