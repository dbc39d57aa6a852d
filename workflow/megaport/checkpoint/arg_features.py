"""The arguments that ask for something GPT-2 does not have, each with the feature's name."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Args = Mapping[str, Any]
Test = Callable[[Any, Args], bool]

ROTARY, MOE = "rotary position embeddings", "mixture of experts (MoE)"
NO_POSITIONS, RMSNORM = "no learned absolute position embeddings", "RMSNorm"
NO_BIAS, GQA = "linear layers without biases", "grouped or multi-query attention (GQA/MQA)"
GATED, HEAD_SIZE = "a gated MLP (SwiGLU, GEGLU)", "attention heads unlike hidden_size / heads"
T5 = "an encoder and a decoder (T5)"

_LEARNED = ("learned_absolute", "absolute", "megatron.enums.PositionEmbeddingType(2)")
_ROPE = ("rope", "mrope", "yarn", "rotary", "megatron.enums.PositionEmbeddingType(1)")


def _on(value: Any, _: Args) -> bool:
    return bool(value)


def _off(value: Any, _: Args) -> bool:
    return not value


def _rope(value: Any, _: Args) -> bool:
    return value in _ROPE


def _other_positions(value: Any, _: Args) -> bool:
    return value not in _LEARNED + _ROPE


def _not(*ordinary: Any) -> Test:
    return lambda value, _: value not in ordinary


def _differs_from(argument: str) -> Test:
    return lambda value, args: value != args.get(argument, value)


def _rms(value: Any, _: Args) -> bool:
    return str(value).lower() != "layernorm"


def _groups(value: Any, args: Args) -> bool:
    # The default of num_query_groups is 1 and means nothing without group_query_attention.
    return bool(args.get("group_query_attention")) and value != args.get("num_attention_heads")


def _head_size(value: Any, args: Args) -> bool:
    heads, hidden = args.get("num_attention_heads"), args.get("hidden_size")
    known = all(isinstance(size, int) for size in (value, heads, hidden))
    return known and value * heads != hidden


def _two_stacks(value: Any, _: Args) -> bool:
    # megatron.core.enums.ModelType: 1 is one stack (GPT or BERT), 2 encoder_and_decoder.
    return str(value).endswith("ModelType(2)")


# (argument, test of a value that is not None, feature); arguments of every Megatron fork seen.
_RULES: tuple[tuple[str, Test, str], ...] = (
    ("position_embedding_type", _rope, ROTARY),
    ("position_embedding_type", _other_positions, NO_POSITIONS),
    ("use_rotary_position_embeddings", _on, ROTARY),
    ("add_position_embedding", _off, NO_POSITIONS),
    ("normalization", _rms, RMSNORM),
    ("swiglu", _on, GATED),
    ("quick_geglu", _on, GATED),
    ("glu_activation", _on, GATED),
    ("squared_relu", _on, "the squared ReLU"),
    ("add_bias_linear", _off, NO_BIAS),
    ("num_query_groups", _groups, GQA),
    ("num_key_value_heads", _differs_from("num_attention_heads"), GQA),
    ("attention_head_type", _not("multihead"), GQA),
    ("kv_channels", _head_size, HEAD_SIZE),
    ("apply_residual_connection_post_layernorm", _on, "post-LayerNorm residual connections"),
    ("num_experts", _not(0, 1, [0], [1]), MOE),
    ("num_unique_layers", _differs_from("num_layers"), "layers that share parameters"),
    ("model_type", _two_stacks, T5),
    ("embed_layernorm", _on, "a LayerNorm on the embedding"),
    ("qk_layernorm", _on, "LayerNorm on queries and keys"),
    ("qk_l2_norm", _on, "normalised queries and keys"),
    ("multi_latent_attention", _on, "multi-latent attention"),
    ("window_size", _on, "sliding-window attention"),
    ("softmax_type", _not("vanilla"), "a softmax with an offset"),
    ("attention_output_gate", _on, "gated attention output"),
    ("linear_attention_freq", _on, "linear attention"),
    ("experimental_attention_variant", _on, "an experimental attention"),
    ("activation_func_clamp_value", _on, "a clamped activation"),
    ("use_mup", _on, "muP scaling"),
    ("mtp_num_layers", _on, "multi-token prediction"),
    ("is_hybrid_model", _on, "state-space layers"),
    ("hybrid_layer_pattern", _on, "state-space layers"),
    ("hybrid_override_pattern", _on, "state-space layers"),
    ("heterogeneous_layers_config_path", _on, "layers unlike each other"),
    ("retro_add_retriever", _on, "retrieval (RETRO)"),
)


def features_of_args(args: Args) -> Iterator[tuple[str, str]]:
    """(feature, "argument=value") for each argument that GPT-2 cannot follow."""
    for argument, present, feature in _RULES:
        value = args.get(argument)
        if value is not None and present(value, args):
            yield feature, f"{argument}={value}"
