"""config.json as GPT2LMHeadModel writes it."""

from typing import Any

from megaport.checkpoint.architecture import Architecture

# The id of <|endoftext|> in GPT-2's vocabulary, which begins and ends its texts.
END_OF_TEXT = 50256


def gpt2_config(architecture: Architecture, dtype: str) -> dict[str, Any]:
    """GPT2Config's content in the order `save_pretrained` writes (sorted), `dtype` by torch's name.

    With `n_ctx`, which transformers no longer writes and llama.cpp's converter reads; without
    `transformers_version`, since no transformers wrote it. `n_inner` is null for GPT-2's usual
    4 x n_embd. Dropouts and initializer_range are GPT-2's published ones: Megatron's say nothing
    about the weights.
    """
    usual = architecture.n_inner == 4 * architecture.n_embd
    token = END_OF_TEXT if architecture.vocab_size > END_OF_TEXT else None
    return {
        "activation_function": architecture.activation_function,
        "add_cross_attention": False,
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": token,
        "dtype": dtype,
        "embd_pdrop": 0.1,
        "eos_token_id": token,
        "initializer_range": 0.02,
        "layer_norm_epsilon": architecture.layer_norm_epsilon,
        "model_type": "gpt2",
        "n_ctx": architecture.n_positions,
        "n_embd": architecture.n_embd,
        "n_head": architecture.n_head,
        "n_inner": None if usual else architecture.n_inner,
        "n_layer": architecture.n_layer,
        "n_positions": architecture.n_positions,
        "pad_token_id": None,
        "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.1,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "tie_word_embeddings": architecture.tie_word_embeddings,
        "use_cache": True,
        "vocab_size": architecture.vocab_size,
    }
