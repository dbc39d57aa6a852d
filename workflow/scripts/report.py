"""Put everything known of the configured models on one page."""

from pathlib import Path

from adapter import WORKFLOW, Task, run
from megaport.steps import SHOWN
from megaport.store.job import Work


def compute(work: Work, task: Task) -> None:
    from megaport.report.model import gather
    from megaport.report.page import render_page

    models = []
    for name in work.parameters["models"]:
        roles = [f"{name}/{step}" for step in SHOWN]
        files = {file: work.blob(role, file) for role in roles for file in work.inputs[role]}
        checksum = task.receipts[f"{name}/checksum"].facts
        models.append(gather(name, files, checksum, Path(f"results/{name}/run")))
    page = render_page(models, WORKFLOW / "report" / "page.html.j2")
    (work.out / "report.html").write_text(page, encoding="utf-8")


run(snakemake, compute)
