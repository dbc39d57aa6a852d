"""A GPT-2 of the 345M's sizes in NGC's form (one legacy .pt in a stored zip, no args), random."""

from pathlib import Path

import numpy as np

from megaport.convert.export import write_ngc
from megaport.convert.export_trees import model_tree
from megaport.convert.torch_writer import Leaf
from megaport.sizes import Sizes
from megaport.table import Row
from megaport.tensors import Array

SIZES = Sizes(
    padded_vocab_size=50304,
    vocab_size=50257,
    n_positions=1024,
    n_embd=1024,
    n_inner=4096,
    n_head=16,
)
LAYERS = 24
# What NGC's form does not say.
SAID = {"n_head": SIZES.n_head, "vocab_size": SIZES.vocab_size}


def make_gpt2(path: Path, layers: int = LAYERS) -> Path:
    """The zip `path`, made once: seeded FP16 weights, 0.02 wide as GPT-2's, norms around 1."""
    if path.exists():
        return path
    random = np.random.default_rng(0)

    def leaf(row: Row) -> Leaf:
        shape = SIZES.shape(row.megatron_shape)

        def read() -> Array:
            drawn = random.standard_normal(shape, np.float32) * 0.02
            return (drawn + row.is_norm_scale).astype(np.float16)

        return Leaf("F16", shape, read)

    tree = model_tree("ngc", leaf, layers=layers, tied=True, stage=0, stages=1)
    write_ngc({"model": tree}, path)
    return path
