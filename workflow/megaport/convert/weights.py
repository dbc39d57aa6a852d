"""A model directory's config.json and weights: one safetensors file, or shards as on the Hub."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from megaport.convert.errors import UnreadableModelError
from megaport.convert.safetensors_file import TensorInfo, read_safetensors
from megaport.tensors import Tensor

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def split(
    infos: Sequence[TensorInfo], max_shard_size: int | None
) -> dict[str, Sequence[TensorInfo]]:
    """File name -> the tensors it holds, in order, at most `max_shard_size` bytes of them.

    One file `model.safetensors` where all fit; a tensor over the limit has a file of its own.
    """
    groups: list[list[TensorInfo]] = [[]]
    used = 0
    for info in infos:
        if groups[-1] and max_shard_size is not None and used + info.nbytes > max_shard_size:
            groups.append([])
            used = 0
        groups[-1].append(info)
        used += info.nbytes
    if len(groups) == 1:
        return {SINGLE: infos}
    return {
        f"model-{number:05d}-of-{len(groups):05d}.safetensors": group
        for number, group in enumerate(groups, 1)
    }


def write_json(path: Path, content: Mapping[str, Any]) -> str:
    """Write `content` as transformers writes it; the SHA-256."""
    data = (json.dumps(content, indent=2) + "\n").encode()
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def write_index(out: Path, files: Mapping[str, Sequence[TensorInfo]]) -> str:
    """Write `model.safetensors.index.json`: the file of every tensor, and the sum of their bytes;
    its SHA-256."""
    total = sum(info.nbytes for infos in files.values() for info in infos)
    where = {info.name: name for name, infos in files.items() for info in infos}
    content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    return write_json(out / INDEX, content)


def read_weights(model_dir: Path) -> dict[str, Tensor]:
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
        raise UnreadableModelError.of(index, error, "an index of shards") from error
    shards = [read_safetensors(model_dir / name) for name in sorted(names)]
    return dict(sorted((name, tensor) for shard in shards for name, tensor in shard.items()))


def read_config(model_dir: Path) -> dict[str, Any]:
    """config.json. Raises UnreadableModelError when it is missing or no JSON object."""
    path = model_dir / "config.json"
    try:
        config: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableModelError.of(path, error, "a config.json") from error
    return config
