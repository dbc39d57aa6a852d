"""What people are told of a model, gathered from the files that its steps have made."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megaport.store.actions import Receipt, read_receipt

Told = Mapping[str, Any]


@dataclass(frozen=True)
class ModelFacts:
    """One model: `inspection`, `parity`, `generations`, `benchmark` as their steps wrote them,
    empty where they did not; `sources` and `digests` (file -> SHA-256) of the checkpoint and of
    `folder`; `pictures` (name -> SVG); `receipts` by step; `costs` (step -> what building took)."""

    name: str
    folder: str
    sources: Mapping[str, str]
    digests: Mapping[str, str]
    inspection: Told
    parity: Told
    generations: list[Told]
    benchmark: Told
    pictures: Mapping[str, str]
    receipts: Mapping[str, Receipt]
    costs: Mapping[str, Told]

    @property
    def outcome(self) -> str:
        """passed, failed, or not compared."""
        return str(self.parity.get("verdict", "not compared"))

    @property
    def loading(self) -> list[str]:
        """The lines of Python that load its directory."""
        loaded = {"model": "AutoModelForCausalLM"}
        if "tokenizer_config.json" in self.digests:
            loaded["tokenizer"] = "AutoTokenizer"
        return [f"from transformers import {', '.join(loaded.values())}"] + [
            f'{name} = {each}.from_pretrained("{self.folder}")' for name, each in loaded.items()
        ]

    @property
    def checks(self) -> list[Told]:
        """Failed ones first, else in parity's order."""
        return sorted(self.parity.get("checks", []), key=lambda check: check["verdict"] != "failed")

    @property
    def counts(self) -> str:
        """How many checks had each outcome, in words; nothing where none was made."""
        return str(self.parity.get("counts", ""))

    @property
    def perplexity(self) -> float | None:
        """The converted model's, on parity's text."""
        measures = [m for check in self.checks for m in check["measures"]]
        wanted = "perplexity of the converted model"
        return next((m["seen"] for m in measures if m["quantity"] == wanted), None)

    @property
    def fastest(self) -> Told | None:
        """The benchmark's row with most tokens a second at batch 1."""
        return self.benchmark.get("fastest")

    @property
    def decisions(self) -> list[Told]:
        """Those that need attention first."""
        return sorted(self.inspection.get("decisions", []), key=lambda d: not needs_attention(d))

    @property
    def software(self) -> dict[str, str]:
        """Versions of the packages that could change a result."""
        return dict(sorted(p for r in self.receipts.values() for p in r.action.software.items()))

    @property
    def date(self) -> str | None:
        """When the last of its steps was built."""
        return max((cost["started"] for cost in self.costs.values()), default=None)


def needs_attention(decision: Told) -> bool:
    """Whether the reader itself warns of a decision."""
    return "BEWARE" in decision["reason"]


def gather(
    name: str, folder: Path, files: Mapping[str, Path], receipts: Mapping[str, Receipt]
) -> ModelFacts:
    """Facts of the model in `folder`, results/<name>, from its `files` (name below it -> where the
    bytes are), receipts by step, and the costs in run/."""
    checksum = receipts["checksum"].facts if "checksum" in receipts else {"members": {}}
    return ModelFacts(
        name=name,
        folder=str(folder / "model"),
        sources={member: item["sha256"] for member, item in checksum["members"].items()},
        digests=_digests(files.get("model/SHA256SUMS")),
        inspection=_json(files.get("inspection/inspection.json")),
        parity=_json(files.get("parity/parity.json")),
        generations=[json.loads(line) for line in _lines(files.get("generations.jsonl"))],
        benchmark=_json(files.get("benchmark/benchmark.json")),
        pictures={name: _text(files[name]) for name in sorted(files) if name.endswith(".svg")},
        receipts=receipts,
        costs=_costs(folder / "run"),
    )


def found(name: str, folder: Path) -> ModelFacts:
    """What there is of a model in `folder`, such as after a run that failed: a parity that failed
    has left its report in run/parity-failed/, and no receipt."""
    receipts = {path.stem: read_receipt(path) for path in sorted(folder.glob("*.json"))}
    names = [name for receipt in receipts.values() for name in receipt.outputs]
    files = {name: folder / name for name in names if (folder / name).exists()}
    failed = {f"parity/{path.name}": path for path in (folder / "run/parity-failed").glob("*")}
    return gather(name, folder, files | failed, receipts)


def ending(models: Sequence[ModelFacts], more: int, page: Path) -> Iterator[str]:
    """The last lines of a run that went well: `models` that are there, the number of others, and
    the `page` where there is one."""
    for model in (model for model in models if model.digests):
        yield f"model: {model.folder}"
        yield from (f"    {line}" for line in model.loading)
        if model.counts:
            yield f"parity: {model.counts}"
    if more:
        yield f"and {more} more"
    if page.exists():
        yield f"report: {page}"


def _costs(folder: Path) -> dict[str, Any]:
    """By step; nothing vouches for these notes, so one that was harmed tells nothing."""
    costs = {}
    for path in sorted(folder.glob("*.json")):
        with suppress(ValueError, LookupError, TypeError):
            costs[path.stem] = json.loads(_text(path))["built"]
    return costs


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _json(path: Path | None) -> Any:
    return json.loads(_text(path)) if path else {}


def _lines(path: Path | None) -> list[str]:
    return _text(path).splitlines() if path else []


def _digests(path: Path | None) -> dict[str, str]:
    pairs = (line.split("  ", 1) for line in _lines(path))
    return {name: digest for digest, name in pairs}
