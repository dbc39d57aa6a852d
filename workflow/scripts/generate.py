"""Generate text for every prompt with the assembled model."""

from pathlib import Path

from adapter import Task, log, run
from megaport.generate.hardware import gpu_names, has_bf16
from megaport.store.step import Job

# What decides the device and the dtype under `auto`; part of the action key.
HARDWARE = {"gpus": gpu_names(), "bf16": has_bf16()}
NOT_READ = ("model/README.md", "model/SHA256SUMS")


def compute(job: Job) -> None:
    from megaport.generate.device import resolve_device
    from megaport.generate.generate import generate_texts
    from megaport.generate.output import write_generations
    from megaport.generate.prompts import requests_from

    task = Task(snakemake)
    settings = job.parameters
    prompts = settings["prompts"]
    file = task.find(prompts["file"]) if isinstance(prompts, dict) else None
    requests = requests_from([] if file else prompts, file, {"max_length": settings["max_length"]})
    placement = resolve_device(settings["device"], settings["dtype"])
    made = generate_texts(job.folder("assemble", "model"), requests, placement, settings["engine"])
    write_generations(made, placement, job.work)


receipt = run(
    snakemake,
    compute,
    lambda task: {
        "assemble": {
            name: content
            for name, content in task.outputs("assemble", "model/").items()
            if name not in NOT_READ
        }
    },
    extra={"hardware": HARDWARE},
)
log.info("%s", Path(snakemake.output.text).read_text(encoding="utf-8"))
