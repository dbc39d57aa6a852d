"""Describe a checkpoint: era, layout, every decision and how to override it, what nobody states."""

import json

from adapter import Task, run
from megaport.store.job import Work


def compute(work: Work, task: Task) -> None:
    from megaport.checkpoint.inspect import inspect, own_tokenizer
    from megaport.checkpoint.screen import screen
    from megaport.convert.tokenizer import chosen_tokenizer
    from megaport.generate.fit import check_fit

    given = work.parameters
    found = inspect(
        task.checkpoint(), given["architecture"], version=given["version"], spool=work.scratch
    )
    out = work.out / "inspection"
    own = out / "tokenizer"
    out.mkdir()
    for name, content in own_tokenizer(task.checkpoint(), spool=work.scratch).items():
        own.mkdir(exist_ok=True)
        (own / name).write_bytes(content)
    sizes, named = found["architecture"], task.settings["tokenizer"]
    tokenizer = chosen_tokenizer(given["tokenizer"], task.find, named, sizes, own)
    check_fit(sizes, tokenizer, given["prompts"])
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (out / "inspection.json").write_text(text, encoding="utf-8")
    (out / "inspection.txt").write_text(screen(found), encoding="utf-8")


run(snakemake, compute)
