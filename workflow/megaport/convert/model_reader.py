"""Reads a model directory: config.json, and the safetensors as views over a memory map."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from megaport.errors import MegaportError
from megaport.tensors import STORAGE, Tensor

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
NEEDED = (
    "vocab_size",
    "n_positions",
    "n_embd",
    "n_head",
    "n_layer",
    "activation_function",
    "layer_norm_epsilon",
)


class UnreadableModelError(MegaportError):
    """A model directory that does not hold what it should."""


def read_model(model_dir: Path) -> dict[str, Tensor]:
    """Name -> tensor of `model.safetensors`, or of the shards its index names, in name order.

    Raises UnreadableModelError when a file is missing or is not safetensors.
    """
    if (model_dir / SINGLE).is_file():
        return read_safetensors(model_dir / SINGLE)
    index = model_dir / INDEX
    if not index.is_file():
        raise UnreadableModelError(
            str(model_dir),
            seen="no weights",
            expected=f"{SINGLE}, or {INDEX} and its shards",
            remedy="Give a directory that `save_pretrained` or `convert` wrote.",
        )
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(index, error, "an index of shards") from error
    found: dict[str, Tensor] = {}
    for name in sorted(names):
        found |= read_safetensors(model_dir / name)
    return dict(sorted(found.items()))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of one file (format: safetensors' README), as views; nothing is read ahead.

    Raises UnreadableModelError when the header or an offset is wrong.
    """
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        length = int.from_bytes(data[:8].tobytes(), "little")
        header = json.loads(data[8 : 8 + length].tobytes())
        body = data[8 + length :]
        entries = ((k, v) for k, v in sorted(header.items()) if k != "__metadata__")
        return {name: _tensor(body, entry) for name, entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error, "a safetensors file") from error


def read_config(model_dir: Path) -> dict[str, Any]:
    """config.json of a GPT-2. Raises UnreadableModelError when it is missing or another model's."""
    path = model_dir / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in NEEDED if key not in config]
        if config.get("model_type") != "gpt2" or missing:
            raise ValueError(f"model_type {config.get('model_type')}, without {missing}")
    except (OSError, ValueError, AttributeError) as error:
        raise _unreadable(path, error, "the config.json of a GPT-2") from error
    return config


def _unreadable(path: Path, error: Exception, expected: str) -> UnreadableModelError:
    return UnreadableModelError(
        str(path), seen=error, expected=expected, remedy="Convert or download the model again."
    )


def _tensor(body: Any, entry: dict[str, Any]) -> Tensor:
    start, stop = entry["data_offsets"]
    if not 0 <= start <= stop <= body.size:
        raise ValueError(f"offsets {start}..{stop} of a body of {body.size} bytes")
    array = np.frombuffer(body[start:stop], dtype=STORAGE[entry["dtype"]])
    return Tensor(entry["dtype"], array.reshape(entry["shape"]))
