# A signature over the assembled directory, for people who got it from others: docs/supply.md.
#   in:  results/<model>/model/, the key pair of config `sign`
#   out: results/<model>/model.sig (a Sigstore bundle), receipt sign.json


rule sign:
    """The signature of every model named by `model:`."""
    input:
        PLAN.receipts("sign"),
    localrule: True


# Local: the private key need not be where jobs run.
rule sign_model:
    """Sign every file of the model directory with the configured key."""
    input:
        assemble="results/{model}/assemble.json",
    output:
        receipt="results/{model}/sign.json",
        signature="results/{model}/model.sig",
    log:
        "results/{model}/run/sign.log",
    localrule: True
    conda:
        "../../envs/sign.yaml"
    params:
        fingerprint=fingerprint("sign"),
    script:
        "../scripts/sign.py"
