"""Receipts: what a rule made, from what, by which code. Small, deterministic edges of the DAG."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from megaport.store.actions import Action, Result
from megaport.store.atomic import replacing
from megaport.store.blobs import Content
from megaport.store.errors import ReceiptError

SCHEMA = 1
Files = Mapping[str, Content]


@dataclass(frozen=True)
class Receipt:
    """One rule's receipt; `outputs` are named relative to the receipt's folder."""

    rule: str
    key: str
    inputs: Mapping[str, Files]
    outputs: Files
    parameters: Any
    code: str
    software: Mapping[str, str]
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, action: Action, result: Result) -> Self:
        return cls(
            rule=action.rule,
            key=action.key,
            inputs=action.inputs,
            outputs=result.outputs,
            parameters=action.parameters,
            code=action.code,
            software=action.software,
            facts=result.facts,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "rule": self.rule,
            "action": self.key,
            "inputs": {role: _files_to_json(files) for role, files in self.inputs.items()},
            "outputs": _files_to_json(self.outputs),
            "parameters": self.parameters,
            "code": self.code,
            "software": dict(self.software),
            "facts": dict(self.facts),
        }

    @property
    def text(self) -> bytes:
        """The bytes of its file."""
        data = json.dumps(self.to_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        return data.encode()

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
        return Receipt(
            rule=value["rule"],
            key=value["action"],
            inputs={role: _files_from_json(files) for role, files in value["inputs"].items()},
            outputs=_files_from_json(value["outputs"]),
            parameters=value["parameters"],
            code=value["code"],
            software=value["software"],
            facts=value["facts"],
        )
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


def _files_to_json(files: Files) -> dict[str, dict[str, str | int]]:
    return {name: files[name].to_json() for name in sorted(files)}


def _files_from_json(value: Mapping[str, dict[str, str | int]]) -> dict[str, Content]:
    return {name: Content.from_json(item) for name, item in value.items()}
