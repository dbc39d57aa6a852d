# Look at a checkpoint without converting it: era, layout, every decision and how to override it.
#   in:  the checksum receipt (and through it the checkpoint)
#   out: results/<model>/inspect.json (receipt), inspection/inspection.json, inspection/inspection.txt


rule inspect:
    """What is known of every model named by `model:`."""
    input:
        PLAN.receipts("inspect"),
    localrule: True


rule inspect_model:
    """Describe a checkpoint: era, serialization, sizes, tensors, decisions."""
    input:
        checksum="results/{model}/checksum.json",
    output:
        receipt="results/{model}/inspect.json",
        inspection="results/{model}/inspection/inspection.json",
        table="results/{model}/inspection/inspection.txt",
    log:
        "results/{model}/run/inspect.log",
    conda:
        "../../envs/convert.yaml"
    resources:
        mem_mb=memory_mb("inspect"),
        runtime=runtime_minutes("inspect"),
    params:
        fingerprint=fingerprint("inspect"),
    script:
        "../scripts/inspect.py"
