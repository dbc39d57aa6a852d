"""The reference of each architecture, by transformers' name of it."""

from megaport.checkpoint.model import Checkpoint
from megaport.parity.gpt2 import Gpt2Reference
from megaport.parity.llama import LlamaReference
from megaport.parity.reference import Reference
from megaport.table import Architecture

REFERENCES: dict[str, type[Reference]] = {
    "gpt2": Gpt2Reference,
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), LlamaReference),
}


def reference_of(
    checkpoint: Checkpoint, architecture: Architecture, stored: str | None = None
) -> Reference:
    """One reading of a checkpoint as a model in float32; `stored` is the dtype (a safetensors name)
    the conversion was asked for, None for the checkpoint's own."""
    return REFERENCES[architecture.model_type](checkpoint, architecture, stored)
