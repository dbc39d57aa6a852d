"""Which outputs an action key gave: STORE/actions/<key>, written after its blobs; and the receipt.

A receipt says what a step made, from what and by which code: small, deterministic edges of the DAG.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Self

from megaport.errors import MegaportError
from megaport.store.content import (
    Content,
    Files,
    canonical_json,
    digest_json,
    files_from_json,
    files_to_json,
)
from megaport.store.disk import replacing, write_durably

SCHEMA = 1


class ReceiptError(MegaportError):
    """A receipt is missing, damaged or written by another version of this workflow."""


@dataclass(frozen=True)
class Action:
    """Everything a rule's outputs may depend on; its digest is the action key.

    Paths, times, hosts and thread counts are left out on purpose: they must not matter.
    """

    rule: str
    inputs: Mapping[str, Files]
    parameters: Any
    code: str
    software: Mapping[str, str]

    @cached_property
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

    outputs: Files
    facts: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, entry: bytes) -> Self | None:
        """A stored entry, or None where it is damaged, which is a miss.

        An entry may come from another person's store: no name in it may lead out of a folder.
        """
        try:
            value = json.loads(entry)
            outputs = files_from_json(value["outputs"])
            if value["schema"] != SCHEMA or not all(map(_stays_inside, outputs)):
                return None
            return cls(outputs, dict(value["facts"]), dict(value["cost"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def to_bytes(self) -> bytes:
        entry = {
            "schema": SCHEMA,
            "outputs": files_to_json(self.outputs),
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


@dataclass(frozen=True)
class Receipt:
    """One step's receipt; `outputs` are named relative to the receipt's folder."""

    action: Action
    outputs: Files
    facts: Mapping[str, Any]

    @property
    def text(self) -> bytes:
        """The bytes of its file."""
        action = self.action
        told = {
            "schema": SCHEMA,
            "rule": action.rule,
            "action": action.key,
            "inputs": {role: files_to_json(files) for role, files in action.inputs.items()},
            "outputs": files_to_json(self.outputs),
            "parameters": action.parameters,
            "code": action.code,
            "software": dict(action.software),
            "facts": dict(self.facts),
        }
        return (json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @property
    def content(self) -> Content:
        return Content(sha256(self.text).hexdigest(), len(self.text))

    def write(self, path: Path) -> None:
        """Atomic, but not fsynced: one that a power cut spoils is found and rebuilt."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.text)


def read_receipt(path: Path) -> Receipt:
    """The receipt at `path`. Raises ReceiptError where it is missing, damaged or too new."""
    try:
        value = json.loads(path.read_bytes())
        if value["schema"] != SCHEMA:
            raise _bad(path, f"receipt format {value['schema']}")
        inputs = {role: files_from_json(files) for role, files in value["inputs"].items()}
        said = (value["parameters"], value["code"], value["software"])
        action = Action(value["rule"], inputs, *said)
        return Receipt(action, files_from_json(value["outputs"]), value["facts"])
    except OSError as error:
        raise _bad(path, error.strerror or "an unreadable file") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad(path, f"a damaged receipt ({error!r})") from error


def _bad(path: Path, seen: str) -> ReceiptError:
    return ReceiptError(
        f"receipt {path}",
        seen=seen,
        expected=f"a receipt of format {SCHEMA}",
        remedy="Delete the file and run the same command again: it is rebuilt from the store.",
    )
