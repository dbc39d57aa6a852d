# The way back: a Megatron checkpoint from the assembled model, for tools that read only those.
#   in:  results/<model>/model/, config `export`
#   out: results/<model>/export/ (NGC's zip, or a folder of rank files), receipt export.json


rule export:
    """The Megatron checkpoint of every model named by `model:`."""
    input:
        every("export"),
    localrule: True


rule export_model:
    """Write the model as a Megatron checkpoint; converting it again gives the same tensors."""
    input:
        before("export"),
    output:
        directory("results/{model}/export"),
        receipt="results/{model}/export.json",
    log:
        "results/{model}/run/export.log",
    conda:
        "../../envs/convert.yaml"
    resources:
        mem_mb=memory_mb("export"),
        runtime=runtime_minutes("export"),
    params:
        fingerprint=fingerprint("export"),
    script:
        "../scripts/export.py"
