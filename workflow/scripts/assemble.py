"""Assemble the model directory that people hand to other tools."""

import json

from adapter import Task, run
from megaport.store.step import Job
from megaport.store.store import Made

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")


def compute(job: Job) -> Made:
    from megaport.convert.model_dir import assemble_model

    task = Task(snakemake)
    tokenizer = job.parameters["tokenizer"]
    found = json.loads(job.blob("inspect", "inspection/inspection.json").read_bytes())
    digests = assemble_model(
        job.folder("convert", "converted"),
        job.work / "model",
        tokenizer=tokenizer and task.find(f"resources/{tokenizer}"),
        provenance={
            "name": job.parameters["name"],
            "content": task.receipt("checksum").facts["content"],
            "inspection": found,
        },
    )
    return Made(digests={f"model/{name}": digest for name, digest in digests.items()})


run(
    snakemake,
    compute,
    lambda task: {
        "checkpoint": task.members(),
        "inspect": task.outputs("inspect", "inspection/inspection.json"),
        "convert": task.outputs("convert", "converted/"),
    },
    clears=("model/*.safetensors*", *(f"model/{name}" for name in TOKENIZER)),
)
