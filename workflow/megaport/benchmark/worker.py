"""What a process of the benchmark does: one contender in one dtype, or the judge of them all.

`python -m megaport.benchmark.worker` reads a task from standard input and answers in lines of JSON.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from megaport.benchmark.agreement import Judge, judged_texts
from megaport.benchmark.instruments import copy_bandwidth
from megaport.benchmark.measure import measure
from megaport.benchmark.options import BenchmarkOptions, points
from megaport.benchmark.peers import open_contender
from megaport.errors import MegaportError
from megaport.generate.device import Placement
from megaport.generate.model_files import read_outline

Answer = dict[str, Any]


def contend(task: dict[str, Any]) -> Iterator[Answer]:
    """How it loaded, its texts for the judge, then a measurement of every point.

    What it says of itself comes anew with each answer: `fast` may give its kernels up on the way.
    """
    model_dir, options = Path(task["model"]), BenchmarkOptions(**task["options"])
    placement, shape = Placement(**task["placement"]), read_outline(model_dir)
    start = time.perf_counter()
    engine = open_contender(task["engine"], model_dir, placement)
    load = {"load_s": time.perf_counter() - start}
    yield {"load": {**load, "note": engine.note}}
    texts = judged_texts(engine, shape, options.seed)
    start = time.perf_counter()
    first = next(texts)
    load["first_text_s"] = time.perf_counter() - start
    yield {"texts": [first, *texts], "load": {**load, "note": engine.note}}
    for point in points(options) if task["timed"] else ():
        row = {"engine": task["engine"], **measure(engine, shape, placement, point, options)}
        yield {"measurement": row, "load": {**load, "note": engine.note}}


def judge(task: dict[str, Any]) -> Iterator[Answer]:
    """The memory's speed, then the agreement of each contender that gave texts."""
    yield {"copy": copy_bandwidth(task["device"])}
    reference = Judge(Path(task["model"]), task["device"], task["seed"])
    for given in task["texts"]:
        agreement = reference.agreement(given["dtype"], given["texts"])
        yield {"agreement": {"engine": given["engine"], **asdict(agreement)}}


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
