"""Write the assembled model as a Megatron checkpoint."""

from adapter import run
from megaport.store.step import Job


def compute(job: Job) -> None:
    from megaport.convert.export import export_checkpoint

    given = job.parameters
    out = job.work / "export"
    name = f"{given['name']}.zip" if given["form"] == "ngc" else given["name"]
    out.mkdir()
    export_checkpoint(
        job.folder("assemble", "model"),
        out / name,
        form=given["form"],
        tensor_parallel=given["tensor_parallel"],
        pipeline_parallel=given["pipeline_parallel"],
    )


run(
    snakemake,
    compute,
    lambda task: {"assemble": task.outputs("assemble", "model/config.json", "model/model")},
    clears=("export/**/*",),
)
