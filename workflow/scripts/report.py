"""Put everything known of the configured models on one page."""

from pathlib import Path

from adapter import WORKFLOW, Task, run
from megaport.store.receipts import read_receipt
from megaport.store.step import Job

SHOWN = ("inspect", "assemble", "generate", "benchmark", "parity")


def compute(job: Job) -> None:
    from megaport.report.model import gather
    from megaport.report.page import render_page

    models = []
    for name in job.parameters["models"]:
        files = {file: job.blob(name, file) for file in job.inputs[name]}
        checksum = read_receipt(Path(f"results/{name}/checksum.json")).facts
        models.append(gather(name, files, checksum, Path(f"results/{name}/run")))
    page = render_page(models, WORKFLOW / "report" / "page.html.j2")
    (job.work / "report.html").write_text(page, encoding="utf-8")


def inputs(task: Task) -> dict[str, dict]:
    """Every file of every model's shown rules, by model."""
    receipts = {path: read_receipt(Path(path)) for path in task.snakemake.input}
    by_model: dict[str, dict] = {}
    for path, receipt in receipts.items():
        if receipt.rule in SHOWN:
            by_model.setdefault(Path(path).parent.name, {}).update(receipt.outputs)
    return by_model


run(snakemake, compute, inputs)
