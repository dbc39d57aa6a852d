"""The files of one checkpoint, each read once, and the training args as plain data."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from megaport.checkpoint.archive import DEFLATED, Member, is_zip
from megaport.checkpoint.files import Files
from megaport.checkpoint.model import Findings
from megaport.checkpoint.records import Name, Record, too_large
from megaport.checkpoint.regions import Region
from megaport.checkpoint.spool import check_budget, inflate
from megaport.checkpoint.torchfile import read_torch
from megaport.errors import MegaportError, encodable
from megaport.table import Decision
from megaport.tensors import Tensor

_MOST_VIEWS, _VIEWS_FREE, _MOST_JSON = 4, 1 << 20, 1 << 20


class UnknownLayoutError(MegaportError):
    """Files that are no checkpoint of a family this reader knows, or those of two saves."""


@dataclass
class Contents:
    """`files` of the checkpoint at the path `source`; `spool` is a folder for scratch files."""

    source: str
    files: Files
    spool: Path
    _trees: dict[str, Any] = field(default_factory=dict)
    _read: set[str] = field(default_factory=set)
    _inflated: int = 0

    @cached_property
    def findings(self) -> Findings:
        """All that is found wrong with the checkpoint."""
        return Findings(self.source)

    def region(self, name: str) -> Region:
        """The bytes of the file `name`, which is no longer among `unread`."""
        self._read.add(name)
        return self.files[name]

    @property
    def unread(self) -> list[str]:
        """The files that carry a model by their names, and of which nothing was read."""
        return [name for name in self.files if name not in self._read]

    def inflated(self, region: Region, size: int, wbits: int) -> Region:
        """The `size` bytes that a compressed file inflates to (see `spool`), under one budget."""
        self._inflated += size
        check_budget(self.source, self._inflated, self._stored, self.spool)
        return inflate(Member(region.name, DEFLATED, None, size, region), self.spool, wbits)

    def check_volume(self, tensors: int) -> None:
        """Refuse tensors of so many bytes in all, where files hold far fewer.

        Tied weights are one storage under two names; a few times as much is an amplification.
        """
        allowed = _VIEWS_FREE + _MOST_VIEWS * (self._stored + self._inflated)
        if tensors > allowed:
            seen = f"tensors of {tensors} bytes that share storages"
            raise too_large(self.source, seen, f"at most {allowed} in files of {self._stored}")

    @cached_property
    def _stored(self) -> int:
        return sum(region.size for region in self.files.values())

    def tree(self, name: str) -> Any:
        """The torch-serialized file `name` (see `torchfile.read_torch`), read once."""
        if name not in self._trees:
            self._trees[name] = read_torch(self.region(name))
        return self._trees[name]

    def state(self, name: str) -> dict[str, Any]:
        """`tree(name)`, which must be a dictionary; `UnknownLayoutError` naming the file if not."""
        tree = self.tree(name)
        if not isinstance(tree, dict):
            raise UnknownLayoutError(
                name,
                seen=f"a {type(tree).__name__} at its top",
                expected="a dictionary, as Megatron saves",
                remedy="Point at a Megatron checkpoint.",
            )
        return tree

    def args(self, state: Mapping[str, Any]) -> tuple[dict[str, Any] | None, tuple[Decision, ...]]:
        """The training args in `state`, else what is stated beside the model, and who states it."""
        args = plain_args(state.get("args"))
        if args is not None or not (self.files.facts or "hyper_parameters" in state):
            return args, ()
        from megaport.checkpoint.configuration import stated_beside  # yaml, which few need

        said = stated_beside(self.files.facts, self.source, state.get("hyper_parameters"))
        if said is None:
            return None, ()
        return said[1], (Decision("args", said[0], "the model's own files hold no args"),)

    def beside(self) -> dict[str, Any]:
        """What DeepSpeed's configuration says of the mathematics: sparse attention, or nothing."""
        said: dict[str, Any] = {}
        for name, region in self.files.facts.items():
            if name.endswith("_config.json") and read_json(region).get("sparse_attention"):
                said["sparse_attention"] = f"in {name}"
        return said

    def serialization(self, name: str) -> str:
        """`zip` (torch 1.6 on) or `legacy` (a pickle stream), by the file's first bytes."""
        return "zip" if is_zip(self.files[name]) else "legacy"


def read_json(region: Region) -> dict[str, Any]:
    """What the file says, by key; {} for what is no mapping in JSON."""
    try:
        said = json.loads(bytes(region.view[:_MOST_JSON]))
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, leaf) of nested dictionaries, in their order."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def plain_args(value: Any) -> dict[str, Any] | None:
    """The attributes of an object (or the items of a dictionary) as JSON data; None for None.

    Whatever its class: forks have their own. An enum member becomes its class and value,
    `megatron.core.enums.ModelType(1)`, a class or a dtype its name, `torch.float16`. Raises
    `UnknownLayoutError` for what holds no attributes: sizes and row orders hang on them.
    """
    if value is None:
        return None
    attributes: Any = value
    if isinstance(value, Record):
        attributes = value.contents if value.state is None else value.state
    if not isinstance(attributes, dict):
        raise UnknownLayoutError(
            "args",
            seen=f"a {value.name if isinstance(value, Record) else type(value).__name__}",
            expected="the training arguments by name, as a Namespace or a dictionary",
            remedy="Save the checkpoint again, its args as Megatron has them.",
        )
    return {encodable(str(key)): _plain(item) for key, item in attributes.items()}


def size_said(args: Mapping[str, Any] | None, argument: str, default: int = 1) -> int:
    """The number of ranks that an argument states, `default` where none is stated."""
    said = (args or {}).get(argument)
    return said if isinstance(said, int) and said > 0 else default


def _scalar(value: Any) -> str:
    return encodable(str(value)) if isinstance(value, bool | int | float | str) else "..."


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {encodable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, Name):
        return value.name
    if isinstance(value, Record):
        # A Record may contain itself, so its arguments are shown only where they are scalars.
        return f"{value.name}({', '.join(map(_scalar, value.args))})"
    if isinstance(value, Tensor):
        return f"tensor {value.dtype} {list(value.shape)}"
    return str(value)
