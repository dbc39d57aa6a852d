"""Which outputs an action key gave: STORE/actions/<key>, written after its blobs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


class Actions:
    """The action entries of one store folder."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "actions"

    def path(self, key: str) -> Path:
        return self.folder / key

    def get(self, key: str) -> Result | None:
        """The entry, or None where there is none or it is damaged (a damaged one is a miss)."""
        try:
            entry = json.loads(self.path(key).read_bytes())
            if entry["schema"] != SCHEMA:
                return None
            outputs = {name: Content.from_json(item) for name, item in entry["outputs"].items()}
            return Result(outputs, dict(entry["facts"]), dict(entry["cost"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def put(self, key: str, result: Result) -> None:
        entry = {
            "schema": SCHEMA,
            "outputs": {name: content.to_json() for name, content in result.outputs.items()},
            "facts": dict(result.facts),
            "cost": dict(result.cost),
        }
        write_durably(self.path(key), canonical_json(entry), mode=0o444)

    def __iter__(self) -> Iterator[str]:
        names = (path.name for path in sorted(self.folder.glob("*")))
        return (name for name in names if not name.startswith("."))
