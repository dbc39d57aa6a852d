"""Sign the assembled model with the key pair that config.yaml names."""

from adapter import Task, run
from megaport.store.step import Job


def compute(job: Job) -> None:
    from megaport.sign.sign import configured, sign_model

    task = Task(snakemake)
    named = task.snakemake.config["sign"]
    halves = (named[half] and task.find(named[half]) for half in ("private_key", "public_key"))
    sign_model(
        job.folder("assemble", "model"),
        job.work / "model.sig",
        configured(*halves),
        public_sha256=job.parameters["public_key"],
    )


run(snakemake, compute, lambda task: {"assemble": task.outputs("assemble", "model/")})
