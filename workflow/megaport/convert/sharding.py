"""Which file each tensor goes to, named and indexed as Hugging Face does."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from megaport.convert.model_reader import INDEX, SINGLE
from megaport.convert.safetensors_file import Entry


def split(entries: Sequence[Entry], max_shard_size: int | None) -> dict[str, list[Entry]]:
    """File name -> the tensors it holds, in order, at most `max_shard_size` bytes of them.

    One file `model.safetensors` where all fit; a tensor over the limit has a file of its own.
    """
    groups: list[list[Entry]] = [[]]
    used = 0
    for entry in entries:
        if groups[-1] and max_shard_size is not None and used + entry.nbytes > max_shard_size:
            groups.append([])
            used = 0
        groups[-1].append(entry)
        used += entry.nbytes
    if len(groups) == 1:
        return {SINGLE: groups[0]}
    return {
        f"model-{number:05d}-of-{len(groups):05d}.safetensors": group
        for number, group in enumerate(groups, 1)
    }


def write_index(out: Path, files: Mapping[str, Sequence[Entry]]) -> None:
    """`model.safetensors.index.json`: the file of every tensor, and the sum of their bytes."""
    total = sum(entry.nbytes for entries in files.values() for entry in entries)
    where = {entry.name: name for name, entries in files.items() for entry in entries}
    content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    (out / INDEX).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
