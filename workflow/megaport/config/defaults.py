"""The models and prompts config.yaml comes with."""

from typing import Any

NGC = "https://api.ngc.nvidia.com/v2"
INNER = "files/release/mp_rank_00/model_optim_rng.pt"

MODELS: dict[str, dict[str, Any]] = {
    "austen-tiny": {
        "checkpoint": {
            "path": "resources/austen-tiny/megatron_austen_tiny_v0.0.zip",
            "sha256": "a55dc5c6275dd5bf4e5b99516a8099721e17bae8147d52151a185a1e8869e169",
        },
        "architecture": {
            "n_head": 4,
            "n_positions": 256,
            "vocab_size": 50257,
            "activation_function": "gelu_new",
        },
        "tokenizer": "gpt2",
    },
    "megatron-gpt2-345m": {
        "checkpoint": {
            "urls": [
                f"{NGC}/models/nvidia/megatron_lm_345m/versions/v0.0/zip",
                f"{NGC}/models/nvidia/megatron_lm_345m/versions/v0.0/{INNER}",
                f"{NGC}/org/nvidia/models/megatron_lm_345m/versions/v0.0/"
                "files?path=release/mp_rank_00/model_optim_rng.pt",
            ],
            "sha256": None,
        },
        "architecture": {
            "n_head": 16,
            "n_positions": 1024,
            "vocab_size": 50257,
            "activation_function": "gelu_new",
        },
        "tokenizer": "gpt2",
        "golden": "resources/golden/megatron-gpt2-345m.json",
    },
}

PROMPTS: list[dict[str, Any]] = [
    {},
    {"prompt": "It is a truth universally acknowledged, that"},
    {"prompt": "She was not", "do_sample": True, "seed": 1, "top_k": 40, "num_return_sequences": 2},
]
