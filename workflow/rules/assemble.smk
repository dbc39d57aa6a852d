# The directory people hand to other tools: tensors, tokenizer, generation settings, model card.
#   in:  results/<model>/converted/, resources/gpt2/
#   out: results/<model>/model/, receipt assemble.json


CARD = report("results/{model}/model/README.md", caption="../report/card.rst", category="{model}")
COMMON = [
    *multiext("results/{model}/model/", "config.json", "generation_config.json", "SHA256SUMS"),
    CARD,
]
TOKENIZER = multiext(
    "results/{model}/model/",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
)


rule assemble:
    """The model directory of every model named by `model:`."""
    input:
        every("assemble"),
    localrule: True


rule assemble_model:
    """Assemble a directory that AutoModelForCausalLM, AutoTokenizer and Trainer take as it is."""
    input:
        before("assemble"),
    output:
        *COMMON,
        *TOKENIZER,
        "results/{model}/model/model.safetensors",
        receipt="results/{model}/assemble.json",
    log:
        "results/{model}/run/assemble.log",
    wildcard_constraints:
        model=models_shaped(CONFIG, "assemble", ""),
    group:
        "prepare"
    conda:
        "../../envs/convert.yaml"
    resources:
        mem_mb=memory_mb("assemble"),
        runtime=runtime_minutes("assemble"),
    params:
        fingerprint=fingerprint("assemble"),
    script:
        "../scripts/assemble.py"


use rule assemble_model as assemble_model_sharded with:
    output:
        *COMMON,
        *TOKENIZER,
        "results/{model}/model/model.safetensors.index.json",
        receipt="results/{model}/assemble.json",
    wildcard_constraints:
        model=models_shaped(CONFIG, "assemble", "_sharded"),


use rule assemble_model as assemble_model_bare with:
    output:
        *COMMON,
        "results/{model}/model/model.safetensors",
        receipt="results/{model}/assemble.json",
    wildcard_constraints:
        model=models_shaped(CONFIG, "assemble", "_bare"),


use rule assemble_model as assemble_model_bare_sharded with:
    output:
        *COMMON,
        "results/{model}/model/model.safetensors.index.json",
        receipt="results/{model}/assemble.json",
    wildcard_constraints:
        model=models_shaped(CONFIG, "assemble", "_bare_sharded"),
