"""pytorch_model.bin, for tools that read no safetensors."""

import hashlib
from pathlib import Path

from megaport.checkpoint.architecture import TABLES
from megaport.convert.torch_writer import Leaf, write_torch_zip
from megaport.convert.weights import read_config, read_weights
from megaport.table import WORD
from megaport.tensors import Tensor


def write_pytorch_bin(converted: Path, out: Path) -> str:
    """Write what `torch.save(model.state_dict())` holds, from `converted`'s safetensors.

    In the state dict's order; a tied `lm_head.weight` is a second name of the same storage and
    takes no bytes. `torch.load(weights_only=True)` reads it, memory-mapped too. Needs no torch;
    same input, same bytes. Returns the SHA-256. Raises UnreadableModelError.
    """
    config = read_config(converted)
    leaves = {name: _leaf(tensor) for name, tensor in read_weights(converted).items()}
    table = next(table for table in TABLES if table.row(WORD).target in leaves)
    tied = config.get("tie_word_embeddings", True)
    layers = config.get("n_layer") or config["num_hidden_layers"]
    held = {row.leaf for row in table.layer if row.at(0).target in leaves}
    rows = table.rows(layers, tied=tied, leaves=held)
    tree = {row.target: leaves[row.target] for row in rows}
    if tied:
        tree[table.head.target] = leaves[table.row(WORD).target]
    with out.open("w+b") as file:
        write_torch_zip(tree, file, out.stem)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _leaf(tensor: Tensor) -> Leaf:
    return Leaf(tensor.dtype, tensor.shape, lambda: tensor.array)
