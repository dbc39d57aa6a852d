# The model card's recipe made real: text from every prompt, FP16 on CUDA, elsewhere what is fast.
#   in:  results/<model>/model/, config `generate`
#   out: results/<model>/generations.jsonl and generations.txt, receipt generate.json


rule generate:
    """Text from every model named by `model:`."""
    input:
        every("generate"),
    localrule: True


rule generate_model:
    """Generate text for every prompt."""
    input:
        before("generate"),
    output:
        "results/{model}/generations.jsonl",
        receipt="results/{model}/generate.json",
        text=report(
            "results/{model}/generations.txt",
            caption="../report/generations.rst",
            category="{model}",
        ),
    log:
        "results/{model}/run/generate.log",
    conda:
        "../../envs/generate.yaml"
    resources:
        mem_mb=memory_mb("generate"),
        runtime=runtime_minutes("generate"),
        gpu=gpus("generate"),
    params:
        fingerprint=fingerprint("generate"),
    script:
        "../scripts/generate.py"
