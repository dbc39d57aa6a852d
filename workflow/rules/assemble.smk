# The directory people hand to other tools: tensors, tokenizer, generation settings, model card.
#   in:  results/<model>/converted/, resources/gpt2/
#   out: results/<model>/model/, receipt assemble.json


rule assemble:
    """The model directory of every model named by `model:`."""
    input:
        PLAN.receipts("assemble"),
    localrule: True


rule assemble_model:
    """Assemble a directory that AutoModelForCausalLM, AutoTokenizer and Trainer take as it is."""
    input:
        checksum="results/{model}/checksum.json",
        inspect="results/{model}/inspect.json",
        convert="results/{model}/convert.json",
    output:
        receipt="results/{model}/assemble.json",
        config="results/{model}/model/config.json",
        generation_config="results/{model}/model/generation_config.json",
        weights="results/{model}/model/model.safetensors",
        tokenizer=multiext("results/{model}/model/tokenizer", ".json", "_config.json"),
        vocabulary="results/{model}/model/vocab.json",
        merges="results/{model}/model/merges.txt",
        card="results/{model}/model/README.md",
        digests="results/{model}/model/SHA256SUMS",
    log:
        "results/{model}/run/assemble.log",
    conda:
        "../../envs/convert.yaml"
    params:
        fingerprint=fingerprint("assemble"),
    script:
        "../scripts/assemble.py"
