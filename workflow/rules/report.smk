# One page over all models, to look at: provenance, decisions, verdicts, texts, plots, costs.
#   in:  the receipts of every model named by `model:`
#   out: results/report.html, receipt results/report.json


def facts(names):
    """What there is of the models."""
    from megaport.report.model import found

    return [found(name, receipt_of("download", name).parent) for name in names]


def say_what_came_of_it():
    """The end of a run that went well."""
    from megaport.report.words import ending

    if workflow.is_main_process:
        told, others = CONFIG.names[:3], CONFIG.names[3:]
        page = receipt_of("report", "").with_suffix(".html")
        for line in ending(facts(told), len(others), page):
            print(line, file=sys.stderr)


def show_what_failed():
    """A parity that failed stops the run before its report: the page says so all the same."""
    from megaport.report.page import render_page

    models = facts(CONFIG.names) if workflow.is_main_process else []
    if any(model.outcome == "failed" for model in models):
        page = receipt_of("report", "").with_suffix(".html")
        page.write_text(render_page(models, ROOT / PAGE), encoding="utf-8")
        print(f"report: {page}", file=sys.stderr)


rule report:
    """Put everything known of the configured models on one self-contained page."""
    input:
        shown,
    output:
        receipt="results/report.json",
        page="results/report.html",
    log:
        "results/run/report.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        fingerprint=fingerprint("report"),
    script:
        "../scripts/report.py"
