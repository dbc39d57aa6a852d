"""Assemble a directory that AutoModelForCausalLM, AutoTokenizer and Trainer take as it is."""

import json

from adapter import Task, run
from megaport.store.job import Work
from megaport.store.store import Made


def compute(work: Work, task: Task) -> Made:
    from megaport.convert.model_dir import assemble_model
    from megaport.convert.tokenizer import chosen_tokenizer

    found = json.loads(work.blob("inspect", "inspection/inspection.json").read_bytes())
    digests = assemble_model(
        work.folder("convert", "converted"),
        work.out / "model",
        tokenizer=chosen_tokenizer(
            work.parameters["tokenizer"],
            task.find,
            task.settings["tokenizer"],
            found["architecture"],
            work.folder("inspect", "inspection/tokenizer"),
        ),
        provenance={
            "name": work.parameters["name"],
            "content": task.receipts["checksum"].facts["content"],
            "inspection": found,
            "decisions": task.receipts["convert"].facts["decisions"],
        },
    )
    return Made(digests={f"model/{name}": digest for name, digest in digests.items()})


run(snakemake, compute)
