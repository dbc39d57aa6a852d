"""What parity is about: one reading of a checkpoint, and the dtype asked for."""

from dataclasses import dataclass, replace
from typing import Any

from megaport.checkpoint.model import Checkpoint
from megaport.parity.gpt2 import Gpt2Reference
from megaport.parity.llama import LlamaReference
from megaport.parity.reference import Precision, Reference
from megaport.table import Architecture

# transformers' name of an architecture -> the model of it in NumPy.
REFERENCES: dict[str, type[Reference]] = {
    "gpt2": Gpt2Reference,
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), LlamaReference),
}


@dataclass(frozen=True)
class Subject:
    """One reading of a checkpoint; `stored` is the dtype (a safetensors name) the conversion was
    asked for, None for the checkpoint's own."""

    checkpoint: Checkpoint
    architecture: Architecture
    stored: str | None = None

    def reference(self, precision: Precision = "float32") -> Reference:
        kind = REFERENCES[self.architecture.model_type]
        return kind(self.checkpoint, self.architecture, precision, self.stored)

    def with_architecture(self, **fields: Any) -> "Subject":
        return replace(self, architecture=replace(self.architecture, **fields))
