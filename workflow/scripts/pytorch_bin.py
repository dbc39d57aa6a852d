"""Write the converted tensors as torch.save would."""

from adapter import run
from megaport.store.step import Job
from megaport.store.store import Made


def compute(job: Job) -> Made:
    from megaport.convert.pytorch_bin import write_pytorch_bin

    out = job.work / "converted" / "pytorch_model.bin"
    out.parent.mkdir()
    digest = write_pytorch_bin(job.folder("convert", "converted"), out)
    return Made(digests={"converted/pytorch_model.bin": digest})


run(snakemake, compute, lambda task: {"convert": task.outputs("convert", "converted/")})
