"""Assemble the model directory that people hand to other tools."""

import json

from adapter import Task, run
from megaport.store.step import Job


def compute(job: Job) -> None:
    from megaport.convert.assemble import assemble_model

    task = Task(snakemake)
    tokenizer = job.parameters["tokenizer"]
    found = json.loads(job.blob("inspect", "inspection/inspection.json").read_bytes())
    assemble_model(
        job.folder("convert", "converted"),
        job.work / "model",
        tokenizer=tokenizer and task.find(f"resources/{tokenizer}"),
        provenance={
            "name": job.parameters["name"],
            "content": task.receipt("checksum").facts["content"],
            "inspection": found,
        },
    )


run(
    snakemake,
    compute,
    lambda task: {
        "checkpoint": task.members(),
        "inspect": task.outputs("inspect", "inspection/inspection.json"),
        "convert": task.outputs("convert", "converted/"),
    },
)
