# The file the model card's conversion wrote, for tools that still ask for it.
#   in:  results/<model>/converted/
#   out: results/<model>/converted/pytorch_model.bin, receipt pytorch_bin.json


rule pytorch_bin:
    """pytorch_model.bin of every model named by `model:`."""
    input:
        every("pytorch_bin"),
    localrule: True


rule pytorch_bin_model:
    """Write the converted tensors as torch.save would."""
    input:
        before("pytorch_bin"),
    output:
        "results/{model}/converted/pytorch_model.bin",
        receipt="results/{model}/pytorch_bin.json",
    log:
        "results/{model}/run/pytorch_bin.log",
    group:
        "prepare"
    conda:
        "../../envs/convert.yaml"
    resources:
        mem_mb=memory_mb("pytorch_bin"),
        runtime=runtime_minutes("pytorch_bin"),
    params:
        fingerprint=fingerprint("pytorch_bin"),
    script:
        "../scripts/pytorch_bin.py"
