"""Llama's architecture, which Qwen2, Qwen3 and Mistral vary: the table of Megatron core's tensors.

RMSNorm, SwiGLU, rotary positions that are not interleaved, no biases but those of query, key and
value, keys and values shared by groups of heads. Checked against Megatron core
(docs/how-it-works/formats.md).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from megaport.llama_numbers import FC2, KEY_NORM, PROJ, QKV, QUERY_NORM, describe
from megaport.sizes import Shape
from megaport.table import (
    FINAL_NORM,
    HEAD,
    LAYER,
    LOADED_IN,
    WORD,
    Architecture,
    Row,
    Table,
    Transform,
)

COPY, CUT = Transform.COPY, Transform.CUT
ATTENDED = (("q", "A", Transform.QUERY), ("k", "K", Transform.KEY), ("v", "K", Transform.VALUE))
FC1 = "mlp.linear_fc1"
INPUT_NORM, POST_NORM = "input_layernorm", "pre_mlp_layernorm"
UNGATED = "an MLP without a gate"
M, G = LAYER, "model.layers.{n}."
CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}


def recognise(names: Collection[str]) -> bool:
    """Core's names, no learned positions, norms without a bias: GPT-2 has both in every file."""
    core = any("linear_proj" in name for name in names)
    biased = any(name.endswith(("norm.bias", "layer_norm_bias")) for name in names)
    positions = any(name.endswith("position_embeddings.weight") for name in names)
    return core and not biased and not positions


def features_of(layer: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
    """What a layer of such shapes has that Llama has not, and where it shows."""
    first, second = (layer.get(f"{module}.weight", ()) for module in (FC1, FC2))
    if len(first) == len(second) == 2 and first[0] == second[1]:
        yield UNGATED, f"{FC1} has the rows that {FC2} takes, not twice as many"


def config_of(architecture: Architecture) -> dict[str, Any]:
    """The content of the class's config.json, sorted; BF16 is loaded as it is stored.

    `rope_parameters` as transformers 5 writes it, `rope_theta` and `rope_scaling` as every version
    before it and llama.cpp's converter read it.
    """
    kind, window = architecture.model_type, architecture.sliding_window
    rope = {"rope_type": "default", **(architecture.rope_scaling or {})}
    config: dict[str, Any] = {
        "architectures": [CLASSES[kind]],
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "dtype": "bfloat16" if architecture.dtype == "bfloat16" else LOADED_IN,
        "eos_token_id": None,
        "head_dim": architecture.width,
        "hidden_act": architecture.activation_function,
        "hidden_size": architecture.n_embd,
        "initializer_range": 0.02,
        "intermediate_size": architecture.n_inner,
        "max_position_embeddings": architecture.n_positions,
        "model_type": kind,
        "num_attention_heads": architecture.n_head,
        "num_hidden_layers": architecture.n_layer,
        "num_key_value_heads": architecture.groups,
        "pad_token_id": None,
        "rms_norm_eps": architecture.layer_norm_epsilon,
        "rope_parameters": {**rope, "rope_theta": architecture.rope_theta},
        "rope_scaling": architecture.rope_scaling,
        "rope_theta": architecture.rope_theta,
        "tie_word_embeddings": architecture.tie_word_embeddings,
        "use_cache": True,
        "vocab_size": architecture.vocab_size,
    }
    return dict(sorted({**config, **_particular(kind, architecture.n_layer, window)}.items()))


def _particular(kind: str, layers: int, window: int | None) -> Mapping[str, Any]:
    if kind == "mistral":
        return {"sliding_window": window}
    if kind == "llama":
        return {"attention_bias": False, "mlp_bias": False, "pretraining_tp": 1}
    attention = "full_attention" if window is None else "sliding_attention"
    bias = {"attention_bias": False} if kind == "qwen3" else {}
    return {
        **bias,
        "layer_types": [attention] * layers,
        "max_window_layers": layers if window is None else 0,
        "sliding_window": window,
        "use_sliding_window": window is not None,
    }


# fmt: off
LLAMA = Table(
    kind="a Llama: rotary positions, RMSNorm, SwiGLU, no biases but of queries, keys and values",
    # Targets are the names that all of CLASSES save.
    first=(Row(WORD, "model.embed_tokens.weight", ("V", "H"), ("v", "H"), 0, CUT),),
    layer=(
        Row(M + f"{INPUT_NORM}.weight", G + "input_layernorm.weight", ("H",), ("H",), None, COPY),
        *(
            Row(M + f"{QKV}.weight", G + f"self_attn.{name}_proj.weight", ("Q", "H"), (size, "H"),
                0, transform)
            for name, size, transform in ATTENDED
        ),
        *(
            Row(M + f"{QKV}.bias", G + f"self_attn.{name}_proj.bias", ("Q",), (size,),
                0, transform, optional=True)
            for name, size, transform in ATTENDED
        ),
        Row(M + f"{QUERY_NORM}.weight", G + "self_attn.q_norm.weight", ("D",), ("D",), None, COPY,
            optional=True),
        Row(M + f"{KEY_NORM}.weight",   G + "self_attn.k_norm.weight", ("D",), ("D",), None, COPY,
            optional=True),
        Row(M + f"{PROJ}.weight", G + "self_attn.o_proj.weight", ("H", "A"), ("H", "A"), 1, COPY),
        Row(M + f"{POST_NORM}.weight", G + "post_attention_layernorm.weight", ("H",), ("H",),
            None, COPY),
        Row(M + f"{FC1}.weight", G + "mlp.gate_proj.weight", ("2F", "H"), ("F", "H"), 0,
            Transform.GATE),
        Row(M + f"{FC1}.weight", G + "mlp.up_proj.weight",   ("2F", "H"), ("F", "H"), 0,
            Transform.UP),
        Row(M + f"{FC2}.weight", G + "mlp.down_proj.weight", ("H", "F"), ("H", "F"), 1, COPY),
    ),
    last=(Row(f"{FINAL_NORM}.weight", "model.norm.weight", ("H",), ("H",), None, COPY),),
    head=Row(HEAD, "lm_head.weight", ("V", "H"), ("v", "H"), 0, CUT),
    modules={},
    fused={QKV: INPUT_NORM, FC1: POST_NORM},
    arguments={
        "position_embedding_type": (
            ("rope", "rotary", "megatron.enums.PositionEmbeddingType(1)",
             "megatron.model.enums.PositionEmbeddingType(1)"), "positions that are not rotary"),
        "normalization": (("RMSNorm", "rmsnorm"), "LayerNorm without biases"),
        "swiglu": ((True,), UNGATED),
        "gated_linear_unit": ((True,), UNGATED),
        "quick_geglu": ((False,), "another gate than SwiGLU"),
        "glu_activation": (("swiglu",), "another gate than SwiGLU"),
        "activation": (("swiglu", "fast-swiglu", "silu"), "another activation than SiLU"),
        "activation_func": (("torch.nn.functional.silu", "torch._C._nn.silu"),
            "another activation than SiLU"),
        "add_bias_linear": ((False,), "biases in linear layers"),
        "bias": ((False,), "biases in linear layers"),
        "rotary_percent": ((1, 1.0), "partial rotary positions"),
        "rotary_percentage": ((1, 1.0), "partial rotary positions"),
        "rope_scaling": ((False, True), "another rotary scaling"),
        "rope_scaling_type": ((), "another rotary scaling"),
    },
    features=features_of,
    recognise=recognise,
    describe=describe,
    config=config_of,
)
# fmt: on
