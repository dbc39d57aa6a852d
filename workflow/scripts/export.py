"""Write the assembled model as a Megatron checkpoint."""

from adapter import Task, run
from megaport.store.job import Work


def compute(work: Work, task: Task) -> None:
    from megaport.convert.export import export_checkpoint

    given = work.parameters
    out = work.out / "export"
    name = f"{given['name']}.zip" if given["form"] == "ngc" else given["name"]
    out.mkdir()
    export_checkpoint(
        work.folder("assemble", "model"),
        out / name,
        form=given["form"],
        tensor_parallel=given["tensor_parallel"],
        pipeline_parallel=given["pipeline_parallel"],
    )


run(snakemake, compute)
