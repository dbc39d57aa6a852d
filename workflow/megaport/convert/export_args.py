"""The training arguments of an exported checkpoint: what Megatron needs to build the same model."""

from typing import Any

from megaport.convert.errors import ExportError
from megaport.convert.export_model import Gpt2
from megaport.convert.pickle_writer import Global, Instance
from megaport.tensors import TORCH_NAME

# transformers' names of the tanh GELU, one function to 1e-5 (formats.md), and of the erf GELU.
TANH = ("gelu_new", "gelu_fast", "gelu_pytorch_tanh")
ERF = "gelu"


def check_activation(model: Gpt2, allowed: tuple[str, ...], form: str) -> None:
    """Raise ExportError where `form` has no way to say the model's activation."""
    seen = model.config["activation_function"]
    if seen not in allowed:
        raise ExportError(
            f"activation_function for form {form}",
            seen=seen,
            expected=f"one of {', '.join(allowed)}",
            remedy="Choose a form that can say it, or a GPT-2 with a GELU.",
        )


def arguments(model: Gpt2, *, tensor_parallel: int, pipeline_parallel: int, core: bool) -> Instance:
    """argparse.Namespace with the names of Megatron-LM's arguments.py, `core` those of core's time.

    Megatron core ignores `openai_gelu`, so there the tanh GELU is said by `bias_gelu_fusion`.
    """
    config, sizes = model.config, model.sizes
    tanh = config["activation_function"] in TANH
    openai = config["activation_function"] == "gelu_new" and not core
    state: dict[str, Any] = {
        "add_position_embedding": True,
        "apply_residual_connection_post_layernorm": False,
        "bf16": model.dtype == "BF16",
        "bias_gelu_fusion": tanh and not openai,
        "consumed_train_samples": 0,
        "consumed_valid_samples": 0,
        "encoder_seq_length": sizes.n_positions,
        "ffn_hidden_size": sizes.n_inner,
        "fp16": model.dtype == "F16",
        "hidden_size": sizes.n_embd,
        "kv_channels": sizes.n_embd // sizes.n_head,
        "norm_epsilon" if core else "layernorm_epsilon": config["layer_norm_epsilon"],
        "make_vocab_size_divisible_by": 128,
        "max_position_embeddings": sizes.n_positions,
        "num_attention_heads": sizes.n_head,
        "num_layers": model.layers,
        "openai_gelu": openai,
        "padded_vocab_size": sizes.padded_vocab_size,
        "params_dtype": Global("torch", TORCH_NAME[model.dtype]),
        "pipeline_model_parallel_size": pipeline_parallel,
        "position_embedding_type": "learned_absolute",
        "seq_length": sizes.n_positions,
        "tensor_model_parallel_size": tensor_parallel,
        "tokenizer_type": "GPT2BPETokenizer",
        "untie_embeddings_and_output_weights": not model.tied,
        "virtual_pipeline_model_parallel_size": None,
        "vocab_size": sizes.vocab_size,
    }
    if core:
        state |= {
            "add_bias_linear": True,
            "ckpt_format": "torch",
            "group_query_attention": False,
            "normalization": "LayerNorm",
            "num_experts": None,
            "num_query_groups": 1,
            "swiglu": False,
            "transformer_impl": "local",
            "use_mcore_models": True,
        }
    return Instance(Global("argparse", "Namespace"), dict(sorted(state.items())))
