# Bring a checkpoint's bytes here. A local checkpoint is read where it lies; a remote one goes into
# the store, resumed where an earlier try stopped.
#   in:  config `checkpoint.path` or `checkpoint.urls`
#   out: results/<model>/download.json, the receipt with the digest of every file


rule download:
    """The bytes of every model named by `model:`."""
    input:
        every("download"),
    localrule: True


rule download_model:
    """Fetch a checkpoint, or note where a local one lies."""
    input:
        before("download"),
    output:
        receipt="results/{model}/download.json",
    log:
        "results/{model}/run/download.log",
    localrule: True
    conda:
        "../../envs/convert.yaml"
    params:
        fingerprint=fingerprint("download"),
    script:
        "../scripts/download.py"
