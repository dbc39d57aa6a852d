"""Convert a checkpoint to config.json and model.safetensors."""

from dataclasses import asdict

from adapter import Task, run
from megaport.store.job import Work
from megaport.store.store import Made


def compute(work: Work, task: Task) -> Made:
    from megaport.convert.convert import convert_checkpoint

    converted = convert_checkpoint(
        *task.open(work),
        work.out / "converted",
        dtype=work.parameters["dtype"],
        max_shard_size=work.parameters["max_shard_size"],
    )
    digests = {f"converted/{name}": digest for name, digest in converted.digests.items()}
    return Made(digests, facts={"decisions": [asdict(made) for made in converted.decisions]})


run(snakemake, compute)
