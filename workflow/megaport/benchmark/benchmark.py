"""The whole benchmark of one model on one machine, as one JSON file with its raw samples."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from megaport.benchmark.instruments import environment
from megaport.benchmark.measure import interval, points
from megaport.benchmark.summary import fastest, summarize, table
from megaport.benchmark.worker import Record, ask
from megaport.config.model import Benchmark
from megaport.errors import MegaportError
from megaport.generate.device import Placement, resolve_device

# How long a process may say nothing: a compilation takes minutes.
PATIENCE_S = 900.0


class BenchmarkError(MegaportError):
    """Nothing could be measured, because the judge itself did not run."""


def run_benchmark(
    model_dir: Path, out: Path, *, options: Benchmark, patience_s: float = PATIENCE_S
) -> Path:
    """Measure every contender that gives the right tokens; write benchmark.json and benchmark.txt.

    Returns the JSON's path. Contenders that are missing, wrong, out of memory, crashed or silent
    for `patience_s` seconds are records that say so. Raises MegaportError for a device, dtype or
    model that cannot be had.
    """
    placements = [resolve_device(options.device, dtype) for dtype in options.dtypes or ("auto",)]
    device = placements[0].device
    before = environment(device)
    contenders = _contenders(model_dir, placements, options, patience_s)
    copy, agreements = _judge(model_dir, device, contenders, patience_s)
    passed = {(a["engine"], a["dtype"]) for a in agreements if a["passed"]}
    right = [
        c
        for c in contenders
        if c["rows"] and {(c["engine"], "float32"), (c["engine"], c["dtype"])} <= passed
    ]
    rows = [row for c in right for row in c["rows"]]
    result: Record = {
        "device": device,
        "summary": "",
        "placements": [asdict(placement) for placement in placements],
        "environment": before,
        "load_average_after": list(os.getloadavg()),
        "options": {**options.model_dump(), "patience_s": patience_s},
        "copy_bytes_per_s": {"samples": copy, **interval(copy)},
        "agreement": agreements,
        "loads": [{"engine": c["engine"], "dtype": c["dtype"], **c["load"]} for c in right],
        "fastest": fastest(rows),
        "rows": rows,
    }
    result["summary"] = summarize(result)
    path = out / "benchmark.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".txt").write_text(table(result), encoding="utf-8")
    return path


def _contenders(
    model_dir: Path, placements: list[Placement], options: Benchmark, patience_s: float
) -> list[Record]:
    """Every engine in every dtype asked for, and in float32 for the judge alone."""
    timed = {placement.dtype: placement for placement in placements}
    exact = Placement(placements[0].device, "float32", "the judge wants it")
    cases = [
        (name, placement)
        for name in options.engines
        for placement in {"float32": exact, **timed}.values()
    ]
    return [
        _contend(name, model_dir, placement, placement.dtype in timed, options, patience_s)
        for name, placement in tqdm(cases, desc="benchmark", disable=None)
    ]


def _contend(
    name: str,
    model_dir: Path,
    placement: Placement,
    timed: bool,
    options: Benchmark,
    patience_s: float,
) -> Record:
    task = {
        "work": "contend",
        "engine": name,
        "model": str(model_dir),
        "placement": asdict(placement),
        "options": options.model_dump(),
        "timed": timed,
    }
    answers, ended = ask(task, patience_s)
    said = _last(answers)
    who = {"engine": name, "dtype": placement.dtype}
    rows = [answer["measurement"] for answer in answers if "measurement" in answer]
    if timed and "texts" in said and ended:
        left = list(points(options))[len(rows) :]
        rows += [who | asdict(p) | {"status": "ended", "reason": ended} for p in left]
    return {
        **who,
        "load": said.get("load"),
        "texts": said.get("texts"),
        "reason": said.get("refused") or ended,
        "rows": rows,
    }


def _judge(
    model_dir: Path, device: str, contenders: list[Record], patience_s: float
) -> tuple[list[float], list[Record]]:
    """Samples of copy bandwidth, and an agreement for every contender."""
    shown = [{key: c[key] for key in ("engine", "dtype", "texts", "reason")} for c in contenders]
    task = {"work": "judge", "model": str(model_dir), "device": device, "contenders": shown}
    answers, ended = ask(task, patience_s)
    said = _last(answers)
    if ended or "refused" in said:
        raise BenchmarkError(
            "the judge, FP32 model.generate",
            seen=said.get("refused") or ended,
            expected="its tokens, which every contender must give",
            remedy="Measure on a device that holds the model in float32.",
        )
    return said["copy"], [answer["agreement"] for answer in answers if "agreement" in answer]


def _last(answers: list[Record]) -> Record:
    """The last value given under each key."""
    return {key: value for answer in answers for key, value in answer.items()}
