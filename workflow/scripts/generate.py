"""Generate text for every prompt with the assembled model."""

from pathlib import Path

from adapter import Task, log, run
from megaport.generate.hardware import gpu_names
from megaport.store.job import Work

# What decides the device and the dtype under `auto`; part of the action key.
HARDWARE = {"gpus": gpu_names()}


def compute(work: Work, task: Task) -> None:
    from megaport.generate.device import resolve_device
    from megaport.generate.generate import generate_texts, read_takes, write_generations
    from megaport.generate.prompts import parse_prompts, read_prompts, takeable

    given, prompts = work.parameters, work.parameters["prompts"]
    if isinstance(prompts, dict):
        wanted = read_prompts(task.find(prompts["file"]), given["max_length"])
    else:
        wanted = parse_prompts(prompts, "generate.prompts", given["max_length"])
    model = work.folder("assemble", "model")
    if task.settings["prompts"] is None:
        takes = read_takes(model)
        wanted = takeable(wanted, takes)
        if takes.tokenizer is None:
            log.info("generate: no tokenizer, so prompts of text are left out")
    placement = resolve_device(given["device"], given["dtype"])
    texts = generate_texts(model, wanted, placement, given["engine"])
    write_generations(texts, placement, given["engine"], work.out)


run(snakemake, compute, extra={"hardware": HARDWARE})
log.info("%s", Path(snakemake.output.text).read_text(encoding="utf-8"))
