# How fast the model generates on this machine, and how far that is from what the memory allows.
# An observation: the machine belongs to the action key.
#   in:  results/<model>/model/, config `benchmark`
#   out: results/<model>/benchmark/{benchmark.json,benchmark.txt} and plots, receipt benchmark.json


rule benchmark:
    """The generation benchmark of every model named by `model:`."""
    input:
        every("benchmark"),
    localrule: True


rule benchmark_model:
    """Measure every engine that gives the right tokens."""
    input:
        before("benchmark"),
    output:
        "results/{model}/benchmark/benchmark.json",
        report(
            "results/{model}/benchmark/benchmark.txt",
            caption="../report/benchmark.rst",
            category="{model}",
        ),
        report(
            "results/{model}/benchmark/throughput.svg",
            caption="../report/throughput.rst",
            category="{model}",
        ),
        report(
            "results/{model}/benchmark/engines.svg",
            caption="../report/engines.rst",
            category="{model}",
        ),
        receipt="results/{model}/benchmark.json",
    log:
        "results/{model}/run/benchmark.log",
    conda:
        "../../envs/benchmark.yaml"
    resources:
        mem_mb=memory_mb("benchmark"),
        runtime=runtime_minutes("benchmark"),
        gpu=gpus("benchmark"),
    params:
        fingerprint=fingerprint("benchmark"),
    script:
        "../scripts/benchmark.py"
