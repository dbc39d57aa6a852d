"""The whole benchmark of one model on one machine, as one JSON file with its raw samples."""

import gc
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from megaport.benchmark.bandwidth import copy_bandwidth
from megaport.benchmark.correctness import Reference, check
from megaport.benchmark.environment import environment, file_stem
from megaport.benchmark.measure import measure
from megaport.benchmark.options import BenchmarkOptions, points
from megaport.benchmark.registry import open_any
from megaport.benchmark.statistics import interval
from megaport.benchmark.summary import summarize, table
from megaport.errors import MegaportError
from megaport.generate.device import Placement, resolve_device
from megaport.generate.model_files import read_shape


def run_benchmark(model_dir: Path, out: Path, *, options: BenchmarkOptions) -> Path:
    """Measure every engine that gives the right tokens; write `<device>-<machine>.json` and `.txt`.

    Returns the JSON's path. Engines that are missing, wrong or out of memory are rows that say so.
    Raises MegaportError for a device, dtype or model that cannot be had at all.
    """
    placements = [resolve_device(options.device, dtype) for dtype in options.dtypes or ("auto",)]
    device = placements[0].device
    result: dict[str, Any] = {
        "device": device,
        "summary": "",
        "placements": [asdict(placement) for placement in placements],
        "environment": environment(device),
        "options": asdict(options),
        "copy_bytes_per_s": _copy(device, options.seed),
        "correctness": _correctness(model_dir, placements, options),
    }
    result |= _measurements(model_dir, placements, options, result["correctness"])
    result["load_average_after"] = environment(device)["load_average"]
    result["summary"] = summarize(result)
    path = out / f"{file_stem(device)}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".txt").write_text(table(result), encoding="utf-8")
    return path


def _copy(device: str, seed: int) -> dict[str, Any]:
    samples = copy_bandwidth(device)
    return {"samples": samples, **interval(samples, seed)}


def _correctness(
    model_dir: Path, placements: list[Placement], options: BenchmarkOptions
) -> list[dict[str, Any]]:
    """A verdict per engine and dtype; the reference is gone from memory when this returns."""
    reference = Reference(model_dir, placements[0].device, options.seed)
    dtypes = sorted({"float32", *(placement.dtype for placement in placements)})
    cases = [(name, dtype) for name in options.engines for dtype in dtypes]
    verdicts = [
        {"engine": name, **_verdict(name, model_dir, dtype, reference)}
        for name, dtype in tqdm(cases, desc="check", disable=None)
    ]
    del reference
    _release()
    return verdicts


def _verdict(name: str, model_dir: Path, dtype: str, reference: Reference) -> dict[str, Any]:
    try:
        return {"status": "checked", **check(name, model_dir, dtype, reference).as_json()}
    except MegaportError as error:
        return {"status": "unavailable", "passed": False, "dtype": dtype, "reason": str(error)}
    finally:
        _release()


def _measurements(
    model_dir: Path,
    placements: list[Placement],
    options: BenchmarkOptions,
    verdicts: list[dict[str, Any]],
) -> dict[str, Any]:
    passed = {(v["engine"], v["dtype"]) for v in verdicts if v["passed"]}
    loads, rows = [], []
    for placement in placements:
        for name in options.engines:
            if {(name, "float32"), (name, placement.dtype)} <= passed:
                load, measured = _one_engine(name, model_dir, placement, options)
                loads.append(load)
                rows += measured
                _release()
    return {"loads": loads, "rows": rows}


def _one_engine(
    name: str, model_dir: Path, placement: Placement, options: BenchmarkOptions
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    shape = read_shape(model_dir)
    start = time.perf_counter()
    engine = open_any(name, model_dir, placement)
    seconds = time.perf_counter() - start
    bar = tqdm(list(points(options)), desc=f"{name} {placement.dtype}", disable=None)
    rows = [measure(engine, shape, placement, point, options) for point in bar]
    load = {"engine": name, "dtype": placement.dtype, "load_s": seconds, "note": engine.note}
    return load, rows


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
