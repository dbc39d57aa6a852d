"""A process of its own for one contender in one dtype, or for the judge of them all.

So a contender's crash or hang costs its row alone. `python -m megaport.benchmark.worker` reads a
task from standard input and answers in lines of JSON; `ask` is the other end.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TextIO

from megaport.benchmark.agreement import Judge, judged_texts
from megaport.benchmark.instruments import copy_bandwidth
from megaport.benchmark.measure import measure, points
from megaport.benchmark.peers import PEERS
from megaport.config.model import Benchmark
from megaport.errors import MegaportError
from megaport.generate.device import Placement
from megaport.generate.engines import open_engine
from megaport.generate.model_files import read_outline

Record = dict[str, Any]

COMMAND = (sys.executable, "-m", "megaport.benchmark.worker")
# How faulthandler's words begin; what stands before them is the process's own.
CRASHED = "Fatal Python error: "


def ask(task: Record, patience_s: float) -> tuple[list[Record], str]:
    """The worker's answers, and why there are no more of them: empty where it came to its end.

    It is killed when it has said nothing for `patience_s` seconds.
    """
    answers: list[Record] = []
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            bufsize=0,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "PYTHONFAULTHANDLER": "1",  # a crash says in which call
            },
        ) as worker:
            try:
                _converse(worker, task, answers, patience_s)
            except TimeoutError as silence:
                worker.kill()
                return answers, str(silence)
        return answers, _reason(worker.returncode, said)


def _converse(
    worker: subprocess.Popen[bytes], task: Record, answers: list[Record], patience_s: float
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
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    if code > 0:
        return f"the process ended with {code}: {''.join(lines[-1:])[:300]}"
    killed = " (the kernel's answer where memory runs out)" if code == -signal.SIGKILL else ""
    return f"the process ended by {signal.Signals(-code).name}{killed}{_crash(lines)}"


def _crash(lines: list[str]) -> str:
    """The innermost call of Python's at a crash, and what was said last before it."""
    start = next((i for i, line in enumerate(lines) if line.startswith(CRASHED)), len(lines))
    call = next((line.strip() for line in lines[start:] if line.startswith("  File ")), "")
    last = next((line for line in reversed(lines[:start]) if line.strip()), "")
    return "".join(f"; {said[:300]}" for said in (call, last) if said)


def contend(task: Record) -> Iterator[Record]:
    """How it loaded, its texts for the judge, then a measurement of every point.

    What it says of itself comes anew with each answer: `fast` may give its kernels up on the way.
    """
    model_dir, options = Path(task["model"]), Benchmark(**task["options"])
    placement, shape = Placement(**task["placement"]), read_outline(model_dir)
    start = time.perf_counter()
    name: str = task["engine"]
    engine = open_engine(PEERS.get(name, name), model_dir, placement)
    load = {"load_s": time.perf_counter() - start}
    yield {"load": {**load, "note": engine.note}}
    texts = judged_texts(engine, shape)
    start = time.perf_counter()
    first = next(texts)
    load["first_text_s"] = time.perf_counter() - start
    yield {"texts": [first, *texts], "load": {**load, "note": engine.note}}
    for point in points(options) if task["timed"] else ():
        measured = measure(engine, shape, placement, point, options.repeats)
        row = {"engine": name, **measured}
        yield {"measurement": row, "load": {**load, "note": engine.note}}


def judge(task: Record) -> Iterator[Record]:
    """The memory's speed, then the agreement of each contender, where it gave texts."""
    yield {"copy": copy_bandwidth(task["device"])}
    reference = Judge(Path(task["model"]), task["device"])
    for given in task["contenders"]:
        found = {"status": "unavailable", "passed": False, "reason": given["reason"]}
        if given["texts"]:
            found = {"status": "checked", **reference.agreement(given["dtype"], given["texts"])}
        yield {"agreement": {"engine": given["engine"], "dtype": given["dtype"], **found}}


TASKS = {"contend": contend, "judge": judge}


def main() -> None:
    answers = _answers()
    task = json.load(sys.stdin)
    try:
        for answer in TASKS[task["work"]](task):
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    except MegaportError as error:
        answers.write(json.dumps({"refused": str(error)}) + "\n")


def _answers() -> TextIO:
    """Standard output for answers alone: what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main()
