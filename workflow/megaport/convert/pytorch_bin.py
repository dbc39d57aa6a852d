"""pytorch_model.bin, for tools that read no safetensors."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from megaport.convert.model_reader import read_config, read_model
from megaport.convert.pickle_writer import Leaf
from megaport.convert.stream import CHUNK_BYTES
from megaport.convert.table import HEAD, rows
from megaport.convert.zip_writer import write_torch_zip
from megaport.tensors import Array, Tensor


def write_pytorch_bin(converted: Path, out: Path) -> str:
    """Write what `torch.save(GPT2LMHeadModel.state_dict())` holds, from `converted`'s safetensors.

    In the state dict's order; a tied `lm_head.weight` is a second name of the same storage and
    takes no bytes. `torch.load(weights_only=True)` reads it, memory-mapped too. Needs no torch;
    same input, same bytes. Returns the SHA-256. Raises UnreadableModelError.
    """
    config = read_config(converted)
    tensors = read_model(converted)
    tied = config.get("tie_word_embeddings", True)
    tree = {row.gpt2: _leaf(tensors[row.gpt2]) for row in rows(config["n_layer"], tied=tied)}
    if tied:
        tree[HEAD.gpt2] = tree["transformer.wte.weight"]
    with out.open("wb") as file:
        write_torch_zip(tree, file, out.stem)
    with out.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _leaf(tensor: Tensor) -> Leaf:
    read: Callable[[], Iterator[Array]] = partial(_chunks, tensor.array)
    return Leaf(tensor.dtype, tensor.shape, read)


def _chunks(array: Array) -> Iterator[Array]:
    flat = array.reshape(-1)
    step = CHUNK_BYTES // flat.itemsize
    for start in range(0, flat.size, step):
        yield flat[start : start + step]
