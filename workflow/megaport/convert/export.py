"""GPT-2 to Megatron: the table read from right to left, in three forms."""

import zipfile
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from megaport.checkpoint.selection import TRACKER
from megaport.convert.export_trees import ExportError, Form, Gpt2, model_tree, open_gpt2
from megaport.convert.torch_writer import Global, add_member, legacy_stream, write_torch_zip
from megaport.gpt2 import ERF, TANH, TANHS
from megaport.tensors import TORCH_NAME


def export_checkpoint(
    model_dir: Path,
    out: Path,
    *,
    form: Form,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    compress: bool = False,
) -> None:
    """Write the GPT-2 in `model_dir` (config.json, safetensors) as a Megatron checkpoint at `out`.

    "ngc": a zip like NGC's 345M, `compress` deflating it. "v3": a folder of Megatron-LM since 2021,
    args and checkpoint_version 3.0. "core": a folder of Megatron core, format `torch`. Folders hold
    `release/mp_rank_TT[_PPP]/` over tensor_parallel x pipeline_parallel and the tracker file.
    The dtype stays, rows that pad the vocabulary are zeros; same input, same bytes.

    Raises ExportError: incomplete model, sizes that do not divide, an activation or a head the form
    cannot say; UnreadableModelError: no safetensors.
    """
    model = open_gpt2(model_dir, ranks=tensor_parallel)
    _check_activation(model, TANHS if form == "ngc" else (*TANHS, ERF), form)
    if form == "ngc":
        _check_ngc(model, tensor_parallel, pipeline_parallel)
        write_ngc(_rank_tree(model, form, 0, 1, 0, 1), out, compress=compress)
        return
    _check_parallel(model, tensor_parallel, pipeline_parallel)
    for stage in range(pipeline_parallel):
        suffix = f"_{stage:03d}" if pipeline_parallel > 1 else ""
        for rank in range(tensor_parallel):
            tree = _rank_tree(model, form, rank, tensor_parallel, stage, pipeline_parallel)
            folder = out / "release" / f"mp_rank_{rank:02d}{suffix}"
            folder.mkdir(parents=True)
            with (folder / "model_optim_rng.pt").open("wb") as file:
                write_torch_zip(tree, file, "archive")
    (out / TRACKER).write_text("release", encoding="ascii")


def _rank_tree(
    model: Gpt2, form: Form, rank: int, ranks: int, stage: int, stages: int
) -> dict[str, Any]:
    """What one rank's file holds."""
    order = "3,np,hn" if form == "ngc" else "np,3,hn"
    make = partial(model.leaf, rank=rank, ranks=ranks, qkv_order=order)
    weights = model_tree(
        form, make, layers=model.layers, tied=model.tied, stage=stage, stages=stages
    )
    if form == "ngc":
        return {"model": weights}
    args = _arguments(model, tensor_parallel=ranks, pipeline_parallel=stages, core=form == "core")
    return {"args": args, "checkpoint_version": 3.0, "iteration": 0, "model": weights}


def _arguments(
    model: Gpt2, *, tensor_parallel: int, pipeline_parallel: int, core: bool
) -> Namespace:
    """What Megatron needs to build the same model, by the names of Megatron-LM's arguments.py,
    `core` those of core's time.

    Megatron core ignores `openai_gelu`, so there the tanh GELU is said by `bias_gelu_fusion`.
    """
    config, sizes = model.config, model.sizes
    tanh = config["activation_function"] in TANHS
    openai = config["activation_function"] == TANH and not core
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
    return Namespace(**dict(sorted(state.items())))


def write_ngc(tree: dict[str, Any], out: Path, *, compress: bool = False) -> None:
    """Write the zip `out` of one rank file that holds `tree`, with the members of NGC's 345M."""
    with zipfile.ZipFile(out, "w") as archive:
        add_member(archive, TRACKER, [b"release"], deflate=compress)
        file = "release/mp_rank_00/model_optim_rng.pt"
        add_member(archive, file, legacy_stream(tree), large=True, deflate=compress)


def _check_activation(model: Gpt2, allowed: tuple[str, ...], form: str) -> None:
    """Raise ExportError where `form` has no way to say the model's activation."""
    seen = model.config["activation_function"]
    if seen not in allowed:
        raise ExportError(
            f"activation_function for form {form}",
            seen=seen,
            expected=f"one of {', '.join(allowed)}",
            remedy="Choose a form that can say it, or a GPT-2 with a GELU.",
        )


def _check_ngc(model: Gpt2, tensors: int, stages: int) -> None:
    """No args, so what a reader assumes without them must be true."""
    epsilon = model.config["layer_norm_epsilon"]
    if (tensors, stages, model.tied, epsilon) != (1, 1, True, 1e-5):
        raise ExportError(
            "form ngc",
            seen=f"tensor_parallel {tensors}, pipeline_parallel {stages}, "
            f"tied {model.tied}, layer_norm_epsilon {epsilon}",
            expected="1, 1, True, 1e-05: its one file says none of them",
            remedy="Use form v3 or core.",
        )


def _check_parallel(model: Gpt2, tensors: int, stages: int) -> None:
    wrong = [
        f"{name} {size} is not divisible by {ranks}"
        for name, size, ranks in (
            ("n_head", model.sizes.n_head, tensors),
            ("n_inner", model.sizes.n_inner, tensors),
            ("n_layer", model.layers, stages),
        )
        if size % ranks
    ]
    if wrong:
        raise ExportError(
            "parallel sizes",
            seen="; ".join(wrong),
            expected="sizes that divide evenly over the ranks",
            remedy="Choose other tensor_parallel and pipeline_parallel.",
        )
