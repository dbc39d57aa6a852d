"""Which outputs an action key gave: STORE/actions/<key>, written after its blobs."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from megaport.store.atomic import write_durably
from megaport.store.blobs import Content
from megaport.store.canonical import canonical_json, digest_json

SCHEMA = 1


@dataclass(frozen=True)
class Action:
    """Everything a rule's outputs may depend on; its digest is the action key.

    Paths, times, hosts and thread counts are left out on purpose: they must not matter.
    """

    rule: str
    inputs: Mapping[str, Mapping[str, Content]]
    parameters: Any
    code: str
    software: Mapping[str, str]

    @property
    def key(self) -> str:
        digests = {
            role: {name: content.sha256 for name, content in files.items()}
            for role, files in self.inputs.items()
        }
        return digest_json(
            {
                "schema": SCHEMA,
                "rule": self.rule,
                "inputs": digests,
                "parameters": self.parameters,
                "code": self.code,
                "software": dict(self.software),
            }
        )


@dataclass(frozen=True)
class Result:
    """The outputs of an action by name, what was learnt on the way (facts, deterministic JSON),
    and what building them cost (an observation)."""

    outputs: Mapping[str, Content]
    facts: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, entry: bytes) -> Self | None:
        """A stored entry, or None where it is damaged, which is a miss.

        An entry may come from another person's store: no name in it may lead out of a folder.
        """
        try:
            value = json.loads(entry)
            outputs = {name: Content.from_json(item) for name, item in value["outputs"].items()}
            if value["schema"] != SCHEMA or not all(map(_stays_inside, outputs)):
                return None
            return cls(outputs, dict(value["facts"]), dict(value["cost"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def to_bytes(self) -> bytes:
        entry = {
            "schema": SCHEMA,
            "outputs": {name: content.to_json() for name, content in self.outputs.items()},
            "facts": dict(self.facts),
            "cost": dict(self.cost),
        }
        return canonical_json(entry)


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


class Actions:
    """The action entries of one store folder, and of read-only ones below it."""

    def __init__(self, root: Path, below: Sequence[Path] = ()) -> None:
        self.folder = root / "actions"
        self.below = [folder / "actions" for folder in below]

    def path(self, key: str) -> Path:
        return self.folder / key

    def get(self, key: str) -> Result | None:
        """The store's own entry, or None where there is none or it is damaged."""
        return _read(self.path(key))

    def candidates(self, key: str) -> Iterator[Result]:
        """The entries here and below, nearest first."""
        found = (_read(folder / key) for folder in (self.folder, *self.below))
        return (result for result in found if result)

    def put(self, key: str, result: Result) -> None:
        write_durably(self.path(key), result.to_bytes(), mode=0o444)

    def touch(self, key: str) -> None:
        """Tell a collector that the action is in use: a hit has no receipt for a moment."""
        with suppress(OSError):  # in another layer, read-only, or another user's
            os.utime(self.path(key))

    def __iter__(self) -> Iterator[str]:
        names = (path.name for path in sorted(self.folder.glob("*")))
        return (name for name in names if not name.startswith("."))


def _read(path: Path) -> Result | None:
    try:
        return Result.from_bytes(path.read_bytes())
    except OSError:
        return None
