"""Convert a checkpoint to config.json and model.safetensors."""

from adapter import Task, run
from megaport.store.step import Job
from megaport.store.store import Made


def compute(job: Job) -> Made:
    from megaport.checkpoint.architecture import describe_architecture
    from megaport.checkpoint.open import open_checkpoint
    from megaport.convert.convert import convert_checkpoint

    task = Task(snakemake)
    path = task.checkpoint(task.receipt("checksum").facts["files"])
    checkpoint = open_checkpoint(path, version=job.parameters["version"], spool=job.scratch)
    converted = convert_checkpoint(
        checkpoint,
        describe_architecture(checkpoint, job.parameters["architecture"]),
        job.work / "converted",
        dtype=job.parameters["dtype"],
        max_shard_size=job.parameters["max_shard_size"],
    )
    return Made(digests={f"converted/{name}": digest for name, digest in converted.digests.items()})


run(
    snakemake,
    compute,
    lambda task: {"checkpoint": task.members()},
    clears=("converted/*.safetensors*",),
)
