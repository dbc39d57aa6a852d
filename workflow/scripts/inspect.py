"""Describe a checkpoint: era, layout, every decision and how to override it."""

import json

from adapter import Task, run
from megaport.store.step import Job


def compute(job: Job) -> None:
    from megaport.checkpoint.architecture import describe_architecture
    from megaport.checkpoint.inspect import inspection, render
    from megaport.checkpoint.open import open_checkpoint

    task = Task(snakemake)
    path = task.checkpoint(task.receipt("checksum").facts["files"])
    checkpoint = open_checkpoint(path, version=job.parameters["version"], spool=job.scratch)
    architecture = describe_architecture(checkpoint, job.parameters["architecture"])
    found = inspection(checkpoint, architecture)
    out = job.work / "inspection"
    out.mkdir()
    text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (out / "inspection.json").write_text(text, encoding="utf-8")
    (out / "inspection.txt").write_text(render(found), encoding="utf-8")


run(snakemake, compute, lambda task: {"checkpoint": task.members()})
