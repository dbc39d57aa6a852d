"""What the page says of one model, gathered from the files its rules made."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIME = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class Picture:
    """An image as a data URL, so that the page stays one file."""

    name: str
    url: str


@dataclass(frozen=True)
class ModelFacts:
    """One model: `inspection`, `parity`, `generations`, `benchmarks` as their rules wrote them,
    `sources` (checkpoint member -> SHA-256), `costs` (rule -> what building it took)."""

    name: str
    content: str
    sources: Mapping[str, str]
    digests: Mapping[str, str]
    inspection: Mapping[str, Any]
    parity: Mapping[str, Any]
    generations: list[Mapping[str, Any]]
    benchmarks: list[Mapping[str, Any]]
    pictures: list[Picture]
    costs: Mapping[str, Mapping[str, Any]]


def gather(
    name: str, files: Mapping[str, Path], checksum: Mapping[str, Any], costs: Path
) -> ModelFacts:
    """Facts of one model from `files` (name under results/<model>/ -> path), the checksum rule's
    facts and the folder of build costs."""
    return ModelFacts(
        name=name,
        content=checksum["content"],
        sources={member: item["sha256"] for member, item in checksum["members"].items()},
        digests=_digests(files["model/SHA256SUMS"]),
        inspection=_json(files["inspection/inspection.json"]),
        parity=_json(files["parity/parity.json"]),
        generations=_lines(files["generations.jsonl"]),
        benchmarks=[_json(path) for file, path in _under(files, "benchmark/", ".json")],
        pictures=[_picture(file, path) for file, path in _under(files, "", ".svg")],
        costs={path.stem: _json(path)["built"] for path in sorted(costs.glob("*.json"))},
    )


def _under(files: Mapping[str, Path], prefix: str, suffix: str) -> list[tuple[str, Path]]:
    found = sorted(files.items())
    return [(name, p) for name, p in found if name.startswith(prefix) and name.endswith(suffix)]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _lines(path: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _digests(path: Path) -> dict[str, str]:
    pairs = (line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines())
    return {name: digest for digest, name in pairs}


def _picture(name: str, path: Path) -> Picture:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return Picture(name, f"data:{MIME[Path(name).suffix]};base64,{data}")
