"""Measure how fast the assembled model generates on this machine."""

import json

from adapter import Task, run
from megaport.generate.hardware import machine_key
from megaport.store.job import Work


def compute(work: Work, task: Task) -> None:
    from megaport.benchmark.benchmark import run_benchmark
    from megaport.benchmark.plots import draw_plots
    from megaport.config.model import Benchmark

    given = {key: value for key, value in work.parameters.items() if key != "machine"}
    out = work.out / "benchmark"
    out.mkdir()
    path = run_benchmark(work.folder("assemble", "model"), out, options=Benchmark(**given))
    draw_plots(json.loads(path.read_text(encoding="utf-8")), out)


run(snakemake, compute, extra={"machine": machine_key()})
