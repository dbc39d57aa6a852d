# Proof that the converted model is the same model: a reference that shares no code with the
# converter reads the checkpoint, and every check has a tolerance, a value and a verdict.
#   in:  the checkpoint, results/<model>/model/
#   out: results/<model>/parity/ (parity.json, parity.txt, plots), receipt parity.json


rule parity:
    """Parity of every model named by `model:`."""
    input:
        every("parity"),
    localrule: True


rule parity_model:
    """Compare the converted model with its checkpoint; fail loudly where they differ."""
    input:
        before("parity"),
    output:
        "results/{model}/parity/parity.json",
        report(
            "results/{model}/parity/parity.txt",
            caption="../report/parity.rst",
            category="{model}",
        ),
        report(
            "results/{model}/parity/layers.svg",
            caption="../report/layers.rst",
            category="{model}",
        ),
        report(
            "results/{model}/parity/positions.svg",
            caption="../report/positions.rst",
            category="{model}",
        ),
        receipt="results/{model}/parity.json",
    log:
        "results/{model}/run/parity.log",
    conda:
        "../../envs/generate.yaml"
    resources:
        mem_mb=memory_mb("parity"),
        runtime=runtime_minutes("parity"),
        gpu=gpus("parity"),
    params:
        fingerprint=fingerprint("parity"),
    script:
        "../scripts/parity.py"
