"""Prove that the converted model is the checkpoint's model, or say where it is not."""

import shutil
from pathlib import Path

from adapter import Task, log, run
from megaport.errors import MegaportError
from megaport.generate.hardware import gpu_names
from megaport.store.step import Job

SAFETENSORS = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", None: None}


def compute(job: Job) -> None:
    from megaport.checkpoint.architecture import describe_architecture
    from megaport.checkpoint.open import open_checkpoint
    from megaport.parity.parity import run_parity
    from megaport.parity.subject import ParityOptions, read_golden

    task = Task(snakemake)
    settings, given = task.settings, job.parameters
    path = task.checkpoint(task.receipt("checksum").facts["files"])
    checkpoint = open_checkpoint(path, version=given["version"], spool=job.scratch)
    options = ParityOptions(
        text=task.find("resources/parity/text.txt"),
        golden=settings["golden"] and read_golden(task.find(settings["golden"])),
        device=given["device"],
        dtypes=tuple(given["dtypes"]),
        seed=given["seed"],
        stored=SAFETENSORS[given["dtype"]],
    )
    architecture = describe_architecture(checkpoint, given["architecture"])
    model = job.folder("assemble", "model")
    try:
        run_parity(checkpoint, architecture, model, job.work / "parity", options=options)
    except MegaportError:
        keep_report(job.work / "parity", Path(snakemake.output.receipt).parent / "run")
        raise


def keep_report(report: Path, folder: Path) -> None:
    """A failed rule has no outputs; what it found is what the user needs most."""
    if report.is_dir():
        kept = folder / "parity-failed"
        shutil.copytree(report, kept, dirs_exist_ok=True)
        log.error("the report of the failed checks is %s", kept / "parity.txt")


run(
    snakemake,
    compute,
    lambda task: {
        "checkpoint": task.members(),
        "assemble": task.model_files(),
    },
    extra={"gpus": gpu_names()},
)
