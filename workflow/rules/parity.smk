# Proof that the converted model is the same model: a reference that shares no code with the
# converter reads the checkpoint, and every check has a tolerance, a value and a verdict.
#   in:  the checkpoint, results/<model>/model/
#   out: results/<model>/parity/ (parity.json, parity.txt, plots), receipt parity.json


rule parity:
    """Parity of every model named by `model:`."""
    input:
        PLAN.receipts("parity"),
    localrule: True


rule parity_model:
    """Compare the converted model with its checkpoint; fail loudly where they differ."""
    input:
        checksum="results/{model}/checksum.json",
        assemble="results/{model}/assemble.json",
    output:
        receipt="results/{model}/parity.json",
        verdicts="results/{model}/parity/parity.json",
        text="results/{model}/parity/parity.txt",
    log:
        "results/{model}/run/parity.log",
    conda:
        "../../envs/generate.yaml"
    resources:
        gpu=1,
    params:
        fingerprint=fingerprint("parity"),
    script:
        "../scripts/parity.py"
