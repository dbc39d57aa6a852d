# Look at a checkpoint without converting it: era, layout, every decision and how to override it.
#   in:  the checksum receipt (and through it the checkpoint)
#   out: results/<model>/inspect.json (receipt), inspection/inspection.json, inspection/inspection.txt


rule inspect:
    """Show what is known of every model named by `model:`; it has no output, so it always shows it."""
    input:
        every("inspect"),
    log:
        "results/run/inspect.log",
    localrule: True
    conda:
        "../../envs/convert.yaml"
    script:
        "../scripts/show_inspection.py"


rule inspect_model:
    """Describe a checkpoint: era, serialization, sizes, tensors, decisions."""
    input:
        before("inspect"),
    output:
        "results/{model}/inspection/inspection.json",
        report(
            "results/{model}/inspection/inspection.txt",
            caption="../report/inspection.rst",
            category="{model}",
        ),
        receipt="results/{model}/inspect.json",
    log:
        "results/{model}/run/inspect.log",
    group:
        "prepare"
    conda:
        "../../envs/convert.yaml"
    resources:
        mem_mb=memory_mb("inspect"),
        runtime=runtime_minutes("inspect"),
    params:
        fingerprint=fingerprint("inspect"),
    script:
        "../scripts/inspect.py"
