"""Prove that the converted model is the checkpoint's model, or say where it is not."""

import shutil
from pathlib import Path

from adapter import Task, log, run
from megaport.errors import MegaportError
from megaport.generate.hardware import gpu_names
from megaport.parameters import PARITY_TEXT, PUBLISHED_IDS
from megaport.store.job import Work


def compute(work: Work, task: Task) -> None:
    from megaport.parity.golden import read_golden
    from megaport.parity.inputs import ParityOptions
    from megaport.parity.parity import run_parity
    from megaport.tensors import BY_TORCH_NAME

    golden, given = task.settings["golden"], work.parameters
    options = ParityOptions(
        text=task.find(PARITY_TEXT),
        published=task.find(PUBLISHED_IDS) if given["published"] else None,
        golden=golden and read_golden(task.find(golden)),
        device=given["device"],
        dtypes=tuple(given["dtypes"]),
        seed=given["seed"],
        stored=given["dtype"] and BY_TORCH_NAME[given["dtype"]],
    )
    out = work.out / "parity"
    kept = Path(snakemake.output.receipt).parent / "run" / "parity-failed"
    shutil.rmtree(kept, ignore_errors=True)
    try:
        run_parity(*task.open(work), work.folder("assemble", "model"), out, options=options)
    except MegaportError:
        # A failed rule has no outputs; what it found is what the user needs most.
        if out.is_dir():
            shutil.copytree(out, kept)
            log.error("the report of the failed checks is %s", kept / "parity.txt")
        raise


run(snakemake, compute, extra={"gpus": gpu_names()})
