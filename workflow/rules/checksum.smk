# Know a checkpoint by its content: SHA-256 of every file and of every member that counts.
#   in:  the download receipt
#   out: results/<model>/checksum.json


rule checksum:
    """The digests of every model named by `model:`, checked against what is pinned."""
    input:
        every("checksum"),
    localrule: True


rule checksum_model:
    """Digest the members of a checkpoint; enforce the pinned or first-trusted digest."""
    input:
        before("checksum"),
    output:
        receipt="results/{model}/checksum.json",
    log:
        "results/{model}/run/checksum.log",
    group:
        "prepare"
    conda:
        "../../envs/convert.yaml"
    resources:
        mem_mb=memory_mb("checksum"),
        runtime=runtime_minutes("checksum"),
    params:
        fingerprint=fingerprint("checksum"),
    script:
        "../scripts/checksum.py"
