"""Assemble a directory that AutoModelForCausalLM, AutoTokenizer and Trainer take as it is."""

import json
from typing import Any

from adapter import Task, run
from megaport.gpt2 import is_gpt2_vocabulary
from megaport.store.job import Work
from megaport.store.store import Made


def tokenizer_of(setting: str | None, sizes: dict[str, Any]) -> str | None:
    """What `auto` stands for: GPT-2's where the vocabulary is GPT-2's."""
    if setting != "auto":
        return setting
    fits = is_gpt2_vocabulary(sizes["vocab_size"], sizes["padded_vocab_size"])
    return "gpt2" if fits else None


def compute(work: Work, task: Task) -> Made:
    from megaport.convert.model_dir import assemble_model

    found = json.loads(work.blob("inspect", "inspection/inspection.json").read_bytes())
    tokenizer = tokenizer_of(task.settings["tokenizer"], found["architecture"])
    digests = assemble_model(
        work.folder("convert", "converted"),
        work.out / "model",
        tokenizer=tokenizer and task.find("resources/gpt2" if tokenizer == "gpt2" else tokenizer),
        published=tokenizer == "gpt2",
        provenance={
            "name": work.parameters["name"],
            "content": task.receipts["checksum"].facts["content"],
            "inspection": found,
            "decisions": task.receipts["convert"].facts["decisions"],
        },
    )
    return Made(digests={f"model/{name}": digest for name, digest in digests.items()})


run(snakemake, compute)
