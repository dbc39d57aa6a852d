"""Put everything known of the configured models on one page."""

from pathlib import Path

from adapter import WORKFLOW, Task, run
from megaport.steps import SHOWN
from megaport.store.job import Work


def compute(work: Work, task: Task) -> None:
    from megaport.report.model import gather
    from megaport.report.page import render_page

    results = Path(snakemake.output.page).parent
    models = []
    for name in work.parameters["models"]:
        roles = [f"{name}/{step}" for step in SHOWN]
        files = {file: work.blob(role, file) for role in roles for file in work.inputs[role]}
        receipts = {step: task.receipts[f"{name}/{step}"] for step in SHOWN}
        models.append(gather(name, results / name, files, receipts))
    page = render_page(models, WORKFLOW / "report" / "page.html.j2")
    (work.out / "report.html").write_text(page, encoding="utf-8")


run(snakemake, compute)
