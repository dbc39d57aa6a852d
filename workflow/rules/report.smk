# One page over all models, to look at: provenance, decisions, verdicts, texts, plots, costs.
#   in:  the receipts of every model named by `model:`
#   out: results/report.html, receipt results/report.json


rule report:
    """Put everything known of the configured models on one self-contained page."""
    input:
        shown,
    output:
        receipt="results/report.json",
        page=report("results/report.html", caption="../report/page.rst", category="all models"),
    log:
        "results/run/report.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        fingerprint=fingerprint("report"),
    script:
        "../scripts/report.py"
