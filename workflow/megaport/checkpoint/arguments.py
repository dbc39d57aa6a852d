"""The training arguments that change the mathematics: known, or said.

Every argument of Megatron-LM, Megatron core, Megatron-DeepSpeed, NeMo 1.x and known forks that asks
for something else than the plain model, with the values that ask for nothing (None always does).
What the architectures here differ in stands in their tables' `arguments`.
"""

import re
from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any, TypeGuard

from megaport.table import Decision, Table

Args = Mapping[str, Any]

MOE, T5 = "mixture of experts (MoE)", "an encoder and a decoder (T5)"
HYBRID, MLA, SIDE = "state-space layers", "multi-latent attention", "attention and MLP side by side"
UNLIKE, POST = "layers unlike each other", "post-LayerNorm residual connections"
ATTENTION = "another attention"

# What follows from other arguments, to compare with: _completed adds them.
_MOST_SIZE = 1 << 31
HEAD_SIZE, SCALE = "hidden_size / num_attention_heads", "1 / sqrt(kv_channels)"

# argument: (values that ask for nothing, what any other asks for); "=other" is another's value.
_ASKS: dict[str, tuple[tuple[Any, ...], str]] = {
    "num_experts": ((0, 1, [0], [1]), MOE),
    "num_moe_experts": ((0, 1), MOE),
    "expert_interval": ((2,), MOE),
    "apply_residual_connection_post_layernorm": ((False,), POST),
    "transformer_block_type": (("pre_ln",), "residual connections that are not pre-LayerNorm"),
    "embed_layernorm": ((False,), "a LayerNorm on the embedding"),
    "use_emb_norm": ((False,), "a LayerNorm on the embedding"),
    "qk_l2_norm": ((False,), "normalised queries and keys"),
    "multi_latent_attention": ((False,), MLA),
    "softmax_type": (("vanilla",), "a softmax with an offset"),
    "softmax_scale": ((f"={SCALE}",), "a softmax scale of its own"),
    "attention_multiplier": ((f"={SCALE}",), "a softmax scale of its own"),
    "attention_type": (("multihead", "self", "normal"), ATTENTION),
    "attention_output_gate": ((False,), "gated attention output"),
    "linear_attention_freq": ((0, []), "linear attention"),
    "linear_attention_type": ((), "linear attention"),
    "experimental_attention_variant": ((), "an experimental attention"),
    "sparse_attention": ((False,), "sparse attention"),
    "normalize_attention_scores": ((True,), "attention scores that are not normalised"),
    "scale_attn_by_inverse_layer_idx": ((False,), "attention scaled by the number of the layer"),
    "headscale": ((False,), "attention heads that are scaled"),
    "attn_logit_softcapping": ((0, False), "capped attention scores"),
    "final_logit_softcapping": ((0, False), "capped logits"),
    "activation_func_clamp_value": ((), "a clamped activation"),
    "glu_linear_offset": ((0,), "an offset in the gated MLP"),
    "squared_relu": ((False,), "the squared ReLU"),
    "causal": ((True,), "attention to later tokens"),
    "is_causal": ((True,), "attention to later tokens"),
    "gpt_j_residual": ((False,), SIDE),
    "use_parallel_residual": ((False,), SIDE),
    "parallel_attention": ((False,), SIDE),
    "parallel_attn": ((False,), SIDE),
    "use_mup": ((False,), "muP scaling"),
    "scale_embeddings": ((False,), "a scaled embedding"),
    "apply_embedding_scaling": ((False,), "a scaled embedding"),
    "embedding_multiplier": ((1,), "a scaled embedding"),
    "residual_multiplier": ((1,), "scaled residual connections"),
    "logits_scaling": ((1,), "scaled logits"),
    "enable_mhc_connections": ((False,), "hyper-connections"),
    "num_unique_layers": (("=num_layers",), "layers that share parameters"),
    "mtp_num_layers": ((0,), "multi-token prediction"),
    "is_hybrid_model": ((False,), HYBRID),
    "hybrid_layer_pattern": (("",), HYBRID),
    "hybrid_override_pattern": (("",), HYBRID),
    "hybrid_attention_ratio": ((0,), HYBRID),
    "hybrid_mlp_ratio": ((0,), HYBRID),
    "heterogeneous_block_specs": ((False,), UNLIKE),
    "heterogeneous_layers_config_path": (("",), UNLIKE),
    "heterogeneous_layers_config_encoded_json": (("",), UNLIKE),
    "window_attn_skip_freq": ((0, []), "layers with and without a window"),
    "no_rope_freq": ((0, []), "layers without rotary positions"),
    "rotary_interleaved": ((False,), "interleaved rotary positions"),
    "rope_type": (("rope",), "another rotary scaling"),
    "use_alibi_position_embeddings": ((False,), "ALiBi positions"),
    "use_sandwich_position_embeddings": ((False,), "other positions"),
    "retro_add_retriever": ((False,), "retrieval (RETRO)"),
    "megatron_legacy": ((False,), "another order of query, key and value rows"),
}

# Words of the mathematics, and the words that say an argument is about something else: how it is
# computed, trained, cut, saved or shown.
_SOUNDS = re.compile(
    r"att(e)?n(tion)?|softmax|norm|activation|gelu|glu|relu|silu|swish|position|rope|rotary|alibi"
    r"|scal(e|ing)|residual|expert|multipl|softcap|logit|sink|quer|qkv|(^|_)qk_|embed|block_type"
    r"|(^|_)spec$|temperature|window|sparse|mixer|latent|clamp|causal|bidirection|prefix|xpos"
    r"|(^|_)(act|bias|kv|ln|loop|mla|ntk|pos|ssm|tied?)(_|$)|(^|_)(cap|eps)$|heads?(_|$)"
    r"|nonlin|gate|gating|lora|adapter|(^|_)skip_|shar(e|ed|ing)(_|$)|soft_?prompt|prompt_tun|layer_order"
    r"|hyena|conv|retention|dilat|rezero|_block$|bitnet|early_exit|recurrent|mamba|rwkv|theta"
    r"|logn|interleav|(mlp|ffn|layer|pe)_type|mixture"
)
_BESIDE = re.compile(
    r"dropout|fusion|fused|gtp_|gigaflos|recompute|checkpoint|ckpt|offload|overlap|gather"
    r"|scatter|init|loss|warmup"
    r"|(^|_)logs?(_|$)|inference|^rl_|grpo|^export|fsdp|fp(4|8|16|32)|bf16|dtype|tokenizer|tiktoken"
    r"|muon|^moe_|^mup_|^mtp_|^mhc_|^mla_|^dsa_|^bert|^retro|^retriever|^dino|^ict|biencoder|vision"
    r"|^img|^num_layers|parallel_(size|split|layout|comm)|(data|tensor|sequence|context"
    r"|expert)_parallel"
    r"|_parallel$|backend|kernel|cuda|_memory|_mem_|freeze|lr_mult|wd_to|clip|reset_|masked|rerun"
    r"|create_attention_mask|adam_|^fim_|skip_train|param_sharing|(^|_)(q|kv)_lora_rank|^mamba_"
    r"|^linear_num_(key|value)_heads"
    r"|(^|_)(max|original_max|yarn_original_max)_position_embeddings|position_embedding_frequency"
    r"|persist|path|dir$|te_activation|transformer_engine|^use_flash|flash_attention|eod"
    r"|apply_query_key_layer_scaling|query_key_layer_scaling|relative_attention|kitchen|deepspeed"
    r"|deepscale|curriculum|relu_cost|^logits_|blend|generat|zero_stage|partition|contigious|grad_"
    r"|_grad|quant|codecarbon|nccl|tp_comm|ffn_hidden|_head_dim$|topk|grouped_gemm|hierarchical"
    r"|consumed|stage$|delay|split_transformers|encoder_|decoder_|standalone|microbatch|optimizer"
)
# Said and used where they matter, or decided by the tensors, whatever the architecture.
_READ = re.compile(
    r"account_for_embedding_in_pipeline_split|add_position_embedding|add_qkv_bias"
    r"|apply_layernorm_1p|bias_gelu_fusion|cache_mla_latents|distribute_saved_activations"
    r"|embedding_scattered|onnx_safe"
    r"|group_query_attention|kv_channels|layernorm_zero_centered_gamma|(layer)?norm_epsilon"
    r"|memory_efficient_layer_norm|min_scale|mrope_section|mscale|mscale_all_dim"
    r"|multiple_validation_sets|no_position_embedding|norm_factor|num_attention_heads"
    r"|num_query_groups|openai_gelu|output_bert_embeddings|pretrain_causal_attention|qk_layernorm"
    r"|query_in_block_prob|rope_scaling|rope_scaling_factor|rotary_base|rotary_percent"
    r"|scale_positional_embedding"
    r"|rotary_scaling_factor|rotary_seq_len_interpolation_factor"
    r"|share_embeddings_and_output_weights|temperature|tie_word_embeddings"
    r"|untie_embeddings_and_output_weights|use_rope_scaling|use_rotary_position_embeddings"
    r"|window_size"
)
# Values that ask for nothing, whatever the argument.
_OFF: tuple[Any, ...] = (None, False, 0, 1, "", "none", [], {})


def features_of_args(table: Table, args: Args) -> Iterator[tuple[str, str]]:
    """(feature, "argument=value") for each argument that `table` cannot follow."""
    whole = _completed(args)
    for argument, (off, feature) in (_ASKS | dict(table.arguments)).items():
        value = whole.get(argument)
        if value is not None and not any(_same(value, one, whole) for one in off):
            yield feature, f"{argument}={value}"
    # megatron.core.enums.ModelType: 1 is one stack (GPT or BERT), 2 encoder_and_decoder.
    if str(args.get("model_type")).endswith("ModelType(2)"):
        yield T5, f"model_type={args['model_type']}"


def _same(value: Any, off: Any, args: Args) -> bool:
    """Whether a value is `off`, or the argument's that `off` names, or that one is not known."""
    if isinstance(off, str) and off.startswith("="):
        off = args.get(off[1:], value)
    if isinstance(value, float) and isinstance(off, float):
        return isclose(value, off, rel_tol=1e-6)
    # A flag is only a flag's equal, since False == 0.
    return bool(value == off and isinstance(value, bool) == isinstance(off, bool))


def _completed(args: Args) -> dict[str, Any]:
    """The args with what follows from them; without groups that are not asked for."""
    whole = dict(args)
    if not args.get("group_query_attention"):
        # Its default is 1 and means nothing without group_query_attention.
        whole.pop("num_query_groups", None)
    heads, hidden = args.get("num_attention_heads"), args.get("hidden_size")
    size = args.get("kv_channels")
    if _is_size(hidden) and _is_size(heads):
        whole[HEAD_SIZE] = hidden // heads if hidden % heads == 0 else hidden / heads
        size = whole[HEAD_SIZE] if size is None else size
    if _is_size(size):
        whole[SCALE] = float(size) ** -0.5
    return whole


# What is read as yes or no.
FLAGS = (
    "apply_layernorm_1p",
    "bias_gelu_fusion",
    "group_query_attention",
    "layernorm_zero_centered_gamma",
    "openai_gelu",
    "rope_scaling",
    "untie_embeddings_and_output_weights",
    "use_rope_scaling",
    "use_te_activation_func",
    "use_transformer_engine_op_fuser",
)

# What every rank of one save states alike, beside the arguments of mathematics.
_SHARED = re.compile(
    r"num_layers|hidden_size|ffn_hidden_size|num_attention_heads|kv_channels|(padded_)?vocab_size"
    r"|max_position_embeddings|(tensor_|pipeline_)?model_parallel_size|(layer)?norm_epsilon"
    r"|consumed_train_samples|params_dtype"
)


def _is_size(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and 0 < value < _MOST_SIZE


def mathematical(table: Table, args: Args) -> dict[str, Any]:
    """Those of the arguments that say what the model is, or how far it was trained."""
    return {
        name: value
        for name, value in args.items()
        if _is_known(table, name) or _SHARED.fullmatch(name) or _sounds(name)
    }


def unknown_mathematics(table: Table, args: Args) -> list[Decision]:
    """The arguments nobody here knows whose names sound like mathematics, with their values."""
    found = {
        name: value
        for name, value in sorted(args.items())
        if _sounds(name)
        and not _is_known(table, name)
        and not any(_same(value, off, {}) for off in _OFF)
    }
    reason = "ATTENTION: their names sound like mathematics, and no Megatron known here has them"
    said = Decision("unknown arguments", found, f"{reason}: taken as changing nothing")
    return [said] if found else []


def _is_known(table: Table, name: str) -> bool:
    return name in _ASKS or name in table.arguments or bool(_READ.fullmatch(name))


def _sounds(name: str) -> bool:
    return bool(_SOUNDS.search(name)) and not _BESIDE.search(name)
