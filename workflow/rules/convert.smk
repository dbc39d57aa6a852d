# Megatron tensors to GPT-2 tensors: pure data movement, no torch.
#   in:  the checksum receipt (and through it the checkpoint)
#   out: results/<model>/converted/{config.json,model.safetensors}, receipt convert.json


rule convert:
    """The converted tensors of every model named by `model:`."""
    input:
        every("convert"),
    localrule: True


rule convert_model:
    """Convert a checkpoint to config.json and model.safetensors."""
    input:
        before("convert"),
    output:
        "results/{model}/converted/config.json",
        "results/{model}/converted/model.safetensors",
        receipt="results/{model}/convert.json",
    log:
        "results/{model}/run/convert.log",
    wildcard_constraints:
        model=models_shaped(CONFIG, "convert", ""),
    group:
        "prepare"
    conda:
        "../../envs/convert.yaml"
    resources:
        mem_mb=memory_mb("convert"),
        runtime=runtime_minutes("convert"),
    params:
        fingerprint=fingerprint("convert"),
    script:
        "../scripts/convert.py"


use rule convert_model as convert_model_sharded with:
    output:
        "results/{model}/converted/config.json",
        "results/{model}/converted/model.safetensors.index.json",
        receipt="results/{model}/convert.json",
    wildcard_constraints:
        model=models_shaped(CONFIG, "convert", "_sharded"),
