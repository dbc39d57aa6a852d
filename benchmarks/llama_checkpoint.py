"""A Llama 3 of 8B sizes as Megatron core's torch_dist of two tensor-parallel ranks, mostly holes.

The layout is that of the files under shared/llama, which real Megatron core wrote: layers stacked,
a chunk a rank, of linear_fc1 two (its slice of the gate, then of the up projection). Weights are
zeros, and holes in the files, so that any number of layers fits on any disk.
"""

import json
import pickle
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from megaport.convert.torch_writer import Leaf, write_torch_zip

RANKS = 2
HIDDEN, INNER, HEADS, GROUPS, VOCABULARY = 4096, 14336, 32, 8, 128256
QKV = HIDDEN // HEADS * (HEADS + 2 * GROUPS)
NORM = ((HIDDEN,), None)
# Key -> (shape, axis that ranks cut); of a stacked layer.
LAYER = {
    "self_attention.linear_qkv.layer_norm_weight": NORM,
    "self_attention.linear_qkv.weight": ((QKV, HIDDEN), 0),
    "self_attention.linear_proj.weight": ((HIDDEN, HIDDEN), 1),
    "mlp.linear_fc1.layer_norm_weight": NORM,
    "mlp.linear_fc1.weight": ((2 * INNER, HIDDEN), 0),
    "mlp.linear_fc2.weight": ((HIDDEN, INNER), 1),
}
OUTSIDE = {
    "embedding.word_embeddings.weight": ((VOCABULARY, HIDDEN), 0),
    "decoder.final_layernorm.weight": NORM,
    "output_layer.weight": ((VOCABULARY, HIDDEN), 0),
}


class Holes:
    """A file that leaves a hole where zeros are written; `begin` starts a zip of its own in it."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w+b")
        self.start = 0

    def begin(self) -> int:
        self.start = self.file.tell()
        return self.start

    def tell(self) -> int:
        return self.file.tell() - self.start

    def seek(self, place: int) -> int:
        return self.file.seek(self.start + place) - self.start

    def write(self, data: bytes | memoryview) -> int:
        if len(data) <= 4096:
            return self.file.write(data)
        self.file.seek(len(data), 1)
        return len(data)

    def flush(self) -> None:
        self.file.flush()


def make_llama(folder: Path, layers: int) -> Path:
    """Write the checkpoint, once; return its folder."""
    if folder.exists():
        return folder
    iteration = folder / "iter_0000001"
    iteration.mkdir(parents=True)
    files = [Holes(iteration / f"__{rank}_0.distcp") for rank in range(RANKS)]
    described, places = {}, {}
    for key, (shape, axis) in _stacked(layers).items():
        chunks = list(_chunks(key, shape, axis, layers))
        described[key] = TensorStorageMetadata(
            TensorProperties(dtype=torch.bfloat16),
            torch.Size(shape),
            [ChunkStorageMetadata(torch.Size(at), torch.Size(size)) for at, size, _ in chunks],
        )
        for at, size, rank in chunks:
            start = files[rank].begin()
            write_torch_zip(
                Leaf("BF16", size, partial(np.zeros, size, np.uint16)), files[rank], "archive"
            )
            place = _StorageInfo(f"__{rank}_0.distcp", start, files[rank].tell())
            places[MetadataIndex(key, torch.Size(at))] = place
    (iteration / ".metadata").write_bytes(pickle.dumps(Metadata(described, None, places)))
    said = {"sharded_backend": "torch_dist", "sharded_backend_version": 1}
    (iteration / "metadata.json").write_text(json.dumps(said))
    torch.save({"args": _args(layers), "iteration": 1}, iteration / "common.pt")
    (folder / "latest_checkpointed_iteration.txt").write_text("1")
    for file in files:
        file.file.truncate(file.file.tell())
        file.file.close()
    return folder


def _stacked(layers: int) -> dict[str, tuple[tuple[int, ...], int | None]]:
    inside = {
        f"decoder.layers.{name}": ((layers, *shape), axis) for name, (shape, axis) in LAYER.items()
    }
    return OUTSIDE | inside


def _chunks(
    key: str, shape: tuple[int, ...], axis: int | None, layers: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], int]]:
    """Offsets, sizes and rank of each chunk; what ranks replicate is rank 0's."""
    stacked = "layers" in key
    whole = shape[1:] if stacked else shape
    parts = RANKS * (2 if "linear_fc1.weight" in key else 1) if axis is not None else 1
    for layer in range(layers if stacked else 1):
        for part in range(parts):
            at, size = [0] * len(whole), list(whole)
            if axis is not None:
                size[axis] //= parts
                at[axis] = part * size[axis]
            front = ((layer,), (1,)) if stacked else ((), ())
            yield (*front[0], *at), (*front[1], *size), part % RANKS


def _args(layers: int) -> Namespace:
    return Namespace(
        num_layers=layers,
        hidden_size=HIDDEN,
        ffn_hidden_size=INNER,
        num_attention_heads=HEADS,
        group_query_attention=True,
        num_query_groups=GROUPS,
        kv_channels=HIDDEN // HEADS,
        padded_vocab_size=VOCABULARY,
        vocab_size=VOCABULARY,
        max_position_embeddings=8192,
        position_embedding_type="rope",
        rotary_base=500000,
        rotary_percent=1.0,
        normalization="RMSNorm",
        norm_epsilon=1e-5,
        swiglu=True,
        add_bias_linear=False,
        untie_embeddings_and_output_weights=True,
        tensor_model_parallel_size=RANKS,
        pipeline_model_parallel_size=1,
        params_dtype=torch.bfloat16,
        bf16=True,
    )
