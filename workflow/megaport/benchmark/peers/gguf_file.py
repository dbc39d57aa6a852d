"""A GPT-2 model directory as one GGUF file, which llama.cpp reads (its LLM_ARCH_GPT2 names)."""

from pathlib import Path

import numpy as np
from torch import Tensor

from megaport.generate.device import Placement
from megaport.generate.model_files import read_shape, read_weights

OUTER = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "lm_head": "output"}
INNER = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def write_gguf(model_dir: Path, out: Path, placement: Placement) -> None:
    """Write `out` without a vocabulary (prompts are token ids), matrices in the placement's dtype.

    Vectors and the position table stay float32, as llama.cpp's own converter has them.
    """
    import gguf

    shape = read_shape(model_dir)
    writer = gguf.GGUFWriter(out, "gpt2")
    writer.add_context_length(shape.positions)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.inner)
    writer.add_block_count(shape.layers)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_tokenizer_model("no_vocab")
    for name, tensor in sorted(read_weights(model_dir).items()):
        matrix = tensor.ndim == 2 and not name.startswith("wpe")
        dtype = placement.dtype if matrix else "float32"
        turned = tensor.t() if name.startswith("h.") and matrix else tensor
        data, kind = _array(turned, dtype)
        writer.add_tensor(gguf_name(name), data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str) -> str:
    """The GGUF name of a GPT-2 tensor: `h.3.attn.c_attn.weight` -> `blk.3.attn_qkv.weight`."""
    stem, _, kind = name.rpartition(".")
    if not stem.startswith("h."):
        return f"{OUTER[stem]}.{kind}"
    _, number, part = stem.split(".", 2)
    return f"blk.{number}.{INNER[part]}.{kind}"


def _array(tensor: Tensor, dtype: str) -> tuple[np.ndarray, int]:
    import gguf
    import torch

    kinds = gguf.GGMLQuantizationType
    kind = {"float32": kinds.F32, "float16": kinds.F16, "bfloat16": kinds.BF16}[dtype]
    cast = tensor.to(getattr(torch, dtype)).contiguous()
    return (cast.view(torch.uint8) if dtype == "bfloat16" else cast).numpy(), kind
