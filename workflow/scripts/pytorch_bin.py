"""Write the converted tensors as torch.save would."""

from adapter import Task, run
from megaport.store.job import Work
from megaport.store.store import Made


def compute(work: Work, task: Task) -> Made:
    from megaport.convert.pytorch_bin import write_pytorch_bin

    out = work.out / "converted" / "pytorch_model.bin"
    out.parent.mkdir()
    digest = write_pytorch_bin(work.folder("convert", "converted"), out)
    return Made(digests={"converted/pytorch_model.bin": digest})


run(snakemake, compute)
