"""Assemble a directory that AutoModelForCausalLM, AutoTokenizer and Trainer take as it is."""

import json

from adapter import Task, run
from megaport.store.job import Work
from megaport.store.store import Made


def compute(work: Work, task: Task) -> Made:
    from megaport.convert.model_dir import assemble_model

    tokenizer = work.parameters["tokenizer"]
    found = work.blob("inspect", "inspection/inspection.json")
    digests = assemble_model(
        work.folder("convert", "converted"),
        work.out / "model",
        tokenizer=tokenizer and task.find(f"resources/{tokenizer}"),
        published=tokenizer == "gpt2",
        provenance={
            "name": work.parameters["name"],
            "content": task.receipts["checksum"].facts["content"],
            "inspection": json.loads(found.read_bytes()),
            "decisions": task.receipts["convert"].facts["decisions"],
        },
    )
    return Made(digests={f"model/{name}": digest for name, digest in digests.items()})


run(snakemake, compute)
