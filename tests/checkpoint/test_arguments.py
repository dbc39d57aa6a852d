"""Training arguments: refused by name, said, or known to change nothing."""

from pathlib import Path
from typing import Any

import pytest

from megaport.checkpoint.arguments import features_of_args, unknown_mathematics
from megaport.checkpoint.open import open_checkpoint
from megaport.gpt2 import GPT2
from megaport.llama import LLAMA
from megaport.table import Table
from support.oracles import LLAMAS, ORACLES, folders_of
from support.reading import opened

# Every name that sounds like mathematics among the arguments of NVIDIA/Megatron-LM from 2019 to
# 2026 (arguments.py, TransformerConfig, ModelParallelConfig) and those in the oracles.
NAMES = """
account_for_embedding_in_pipeline_split activation_func activation_func_clamp_value
activation_func_fp8_input_store activation_offload_fraction activations_checkpoint_method
activations_checkpoint_num_layers add_position_embedding add_qkv_bias apply_layernorm_1p
apply_query_key_layer_scaling apply_residual_connection_post_layernorm apply_rope_fusion
apply_wd_to_qk_layernorm attention_backend attention_dropout attention_output_gate
attention_softmax_in_fp32 bert_embedder_type bias_activation_fusion bias_gelu_fusion
bias_swiglu_fusion biencoder_shared_query_context_model cache_mla_latents checkpoint_activations
clone_scatter_output_in_embedding cpu_offloading_activations create_attention_mask_in_dataloader
deepscale deepscale_config deepspeed_activation_checkpointing defer_embedding_wgrad_compute
dino_norm_last_layer distribute_checkpointed_activations distribute_saved_activations
dsa_indexer_k_norm_epsilon dsa_indexer_k_norm_fp32 dsa_indexer_rope_interleaved
dsa_indexer_rotate_activation dsa_indexer_scoring_relu dsa_indexer_use_sparse_loss
dynamic_loss_scale embed_layernorm embedding_init_method embedding_init_method_std embedding_path
embedding_weights_in_fp32 ep_overlap_early_attn_memory_release experimental_attention_variant
experimental_attention_variant_loss_scale_func expert_gtp_weight_remat_size
expert_model_parallel_size expert_parallel expert_tensor_parallel_num_weight_shards
expert_tensor_parallel_size export_default_te_spec export_force_local_attention export_qk_l2_norm
fine_grained_activation_offloading flash_attention_version fp32_embedding fp32_layernorm
fp32_residual_connection fp8_dot_product_attention fp8_multi_head_attention fused_residual_rmsnorm
fused_single_qkv_rope gigaflos_no_embeds glu_activation glu_linear_offset grad_scale_func
group_query_attention grpo_clamp_eps_lower grpo_clamp_eps_upper grpo_default_temperature
gtp_expert_remat_nccl_ub hybrid_attention_ratio initial_loss_scale kitchen_attention_backend
layernorm_epsilon layernorm_zero_centered_gamma linear_attention_freq
log_loss_scale_to_tensorboard log_max_attention_logit log_params_norm logit_dtype
logits_load_decode_threads logits_load_dir logits_load_ignore_errors logits_load_kd_loss_alpha
logits_load_msc_prefetch_depth logits_load_prefetch_factor logits_save_dir logits_save_dtype
logits_save_top_k logits_save_top_p logits_save_top_p_min_k loss_scale loss_scale_window
masked_softmax_fusion max_position_embeddings memory_efficient_layer_norm mhc_num_residual_streams
mhc_sinkhorn_iterations min_loss_scale min_scale moe_expert_capacity_factor
moe_expert_rank_capacity_factor moe_grad_scale_func moe_latent_size moe_mlp_glu_interleave_size
moe_pad_expert_input_to_capacity moe_pad_experts_for_cuda_graph_inference
moe_router_enable_expert_bias moe_router_pre_softmax moe_router_topk_scaling_factor
moe_shared_expert_gate moe_shared_expert_glu_interleave_size moe_shared_expert_intermediate_size
moe_shared_expert_overlap mrope_section mscale mscale_all_dim mtp_grad_scale_func
mtp_loss_scaling_factor multi_latent_attention multiple_validation_sets muon_extra_scale_factor
muon_no_split_qkv muon_scale_mode muon_split_qkv mup_attn_scale_power mup_embedding_mult
no_bias_gelu_fusion no_bias_swiglu_fusion no_clone_scatter_output_in_embedding
no_create_attention_mask_in_dataloader no_log_loss_scale_to_tensorboard no_masked_softmax_fusion
no_persist_layer_norm no_position_embedding no_query_key_layer_scaling no_rope_freq no_rope_fusion
no_scaled_masked_softmax_fusion norm_epsilon normalization num_attention_heads num_experts
num_microbatches_with_partial_activation_checkpoints num_moe_experts num_query_groups openai_gelu
original_max_position_embeddings output_bert_embeddings output_logit_dtype
overlap_dispatch_backward_with_experts_wgrad overlap_moe_expert_parallel_comm
partition_activations persist_layer_norm position_embedding_type pretrain_causal_attention qk_clip
qk_clip_alpha qk_clip_threshold qk_head_dim qk_l2_norm qk_layernorm qk_pos_emb_head_dim
query_in_block_prob quick_geglu recompute_activations relative_attention_max_distance
relative_attention_num_buckets renormalize_blend_weights reset_attention_mask reset_position_ids
retriever_score_scaling retro_attention_gate retro_encoder_attention_dropout
reweight_loss_based_on_position_frequency rl_default_temperature
rl_inference_expert_model_parallel_size rl_inference_expert_tensor_model_parallel_size
rope_scaling_factor rope_type rotary_base rotary_interleaved rotary_percent rotary_scaling_factor
rotary_seq_len_interpolation_factor scaled_masked_softmax_fusion
scaled_upper_triang_masked_softmax_fusion scattered_embeddings softmax_scale softmax_type
squared_relu standalone_embedding_stage swiglu temperature tp_comm_overlap_disable_qkv
untie_embeddings_and_output_weights use_flash_attn use_fused_weighted_squared_relu
use_grouped_gemm_for_shared_expert use_kitchen_attention use_rope_scaling
use_rotary_position_embeddings use_te_activation_func window_attn_skip_freq window_size
yarn_original_max_position_embeddings
"""


@pytest.mark.parametrize("table", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_no_argument_of_a_real_megatron_makes_inspect_cry_wolf(table: Table) -> None:
    said = dict.fromkeys(NAMES.split(), "something")
    assert unknown_mathematics(table, said) == []


@pytest.mark.oracle
@pytest.mark.parametrize("table", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_no_argument_of_a_real_checkpoint_does(table: Table, tmp_path: Path) -> None:
    folders = [*folders_of(ORACLES), *folders_of(LLAMAS)]
    found = [open_checkpoint(path, version=2, spool=tmp_path).args or {} for path in folders]
    names = {name for args in found for name in args} - {"spec"}
    assert unknown_mathematics(table, dict.fromkeys(names, "something")) == []


def test_the_names_sound_like_mathematics() -> None:
    """So that the list holds something: with a letter more nobody knows them."""
    said = {
        "attention_x": 2,
        "softmax_of_a_fork": 2,
        "rope_y": 2,
        "residual_gain": 0.5,
        "attention_of_a_fork": True,
        "attn_mask_type": "padding",
        "head_dim": 3,
        "layer_norm_epsilon": 1e-6,
        "logit_cap": 30,
        "num_kv_heads": 2,
        "prefix_lm": True,
        "share_layers": True,
        "sliding_window": 128,
        "use_bias": "no",
    }
    (decision,) = unknown_mathematics(GPT2, said)
    assert decision.value == said


SIZES = {"hidden_size": 48, "num_attention_heads": 4}
FORKS = [
    ({"softmax_scale": 0.3}, "softmax scale"),
    ({"activation": "relu"}, "activation"),
    ({"scale_attn_by_inverse_layer_idx": True}, "scaled by the number of the layer"),
    ({"multi_query_attention": True}, "MQA"),
    ({"use_alibi_position_embeddings": True}, "ALiBi"),
    ({"gpt_j_residual": True}, "side by side"),
    ({"transformer_block_type": "post_ln"}, "pre-LayerNorm"),
    ({"normalize_attention_scores": False}, "not normalised"),
    ({"headscale": True}, "scaled"),
    ({"heterogeneous_layers_config_encoded_json": "{}"}, "unlike each other"),
    ({"position_embedding_type": "megatron.model.enums.PositionEmbeddingType(3)"}, "position"),
    ({"model_type": "megatron.core.enums.ModelType(2)"}, "T5"),
]


@pytest.mark.parametrize(("args", "feature"), FORKS, ids=str)
def test_arguments_of_forks_are_refused_by_name(args: dict[str, Any], feature: str) -> None:
    found = list(features_of_args(GPT2, SIZES | args))
    assert [feature in name for name, _ in found] == [True]


USUAL = [
    {"softmax_scale": 12**-0.5},
    {"activation": "gelu"},
    {"position_embedding_type": "megatron.model.enums.PositionEmbeddingType(2)"},
    {"position_embedding_type": "megatron.enums.PositionEmbeddingType(2)"},
    {"num_query_groups": 1, "group_query_attention": False},
    {"num_key_value_heads": 4},
    {"kv_channels": 12},
    {"window_size": [-1, 0]},
    {"attention_of_a_fork": False, "residual_of_a_fork": 1.0},
    {"attention_dropout": 0.1, "moe_router_topk": 2, "rotary_base": 10_000},
    {"apply_query_key_layer_scaling": True, "add_qkv_bias": False},
    {"num_experts": [1], "rotary_percent": 1.0},
    {"normalization": "LayerNorm", "position_embedding_type": "learned_absolute"},
    {"untie_embeddings_and_output_weights": None},
]


@pytest.mark.parametrize("args", USUAL, ids=str)
def test_arguments_that_ask_for_nothing_are_neither_refused_nor_said(args: dict[str, Any]) -> None:
    assert list(features_of_args(GPT2, SIZES | args)) == []
    assert unknown_mathematics(GPT2, SIZES | args) == []


def test_arguments_nobody_knows_that_sound_like_mathematics_are_said_first(tmp_path: Path) -> None:
    said = {"attention_of_a_fork": "linear", "spec": ["their.module", "their_spec"]}
    first = opened(tmp_path, layout="core", args=said).decisions[0]
    assert (first.subject, first.value) == ("unknown arguments", said)
    assert first.reason.startswith("ATTENTION")
