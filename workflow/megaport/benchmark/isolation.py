"""A task in a process of its own, so that a contender's crash or hang costs its row alone."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import IO, Any

COMMAND = (sys.executable, "-m", "megaport.benchmark.worker")


def ask(task: dict[str, Any], patience_s: float) -> tuple[list[dict[str, Any]], str]:
    """The worker's answers, and why there are no more of them: empty where it came to its end.

    It is killed when it has said nothing for `patience_s` seconds.
    """
    answers: list[dict[str, Any]] = []
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as worker:
            try:
                _converse(worker, task, answers, patience_s)
            except TimeoutError as silence:
                worker.kill()
                return answers, str(silence)
        return answers, _reason(worker.returncode, said)


def _converse(
    worker: subprocess.Popen[bytes],
    task: dict[str, Any],
    answers: list[dict[str, Any]],
    patience_s: float,
) -> None:
    """Add its answers to `answers` until its end. Raises TimeoutError when it is silent."""
    assert worker.stdin and worker.stdout
    with suppress(BrokenPipeError):
        worker.stdin.write(json.dumps(task).encode())
        worker.stdin.close()
    while select.select([worker.stdout], [], [], patience_s)[0]:
        # Unbuffered: a second line would otherwise wait where select does not see it.
        line = worker.stdout.readline()
        if not line.endswith(b"\n"):
            with suppress(subprocess.TimeoutExpired):
                worker.wait(patience_s)
                return
            break
        answers.append(json.loads(line))
    raise TimeoutError(f"no answer for {patience_s:g} s")


def _reason(code: int, said: IO[bytes]) -> str:
    if code == 0:
        return ""
    if code < 0:
        killed = " (the kernel's answer where memory runs out)" if code == -signal.SIGKILL else ""
        return f"the process ended by {signal.Signals(-code).name}{killed}"
    said.seek(0)
    last = said.read().decode(errors="replace").strip().splitlines()[-1:]
    return f"the process ended with {code}: {''.join(last)[:300]}"
