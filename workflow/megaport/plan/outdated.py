"""Receipts that another configuration, other code or other inputs made than this run's.

Snakemake sees most of that itself, but not without its memory (.snakemake), not where a rule's
outputs have other names now (shards, no tokenizer), and not where times were set anew (touch, cp).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from megaport.plan.plan import READS, RULES, Plan, receipts_in
from megaport.store.blobs import Content
from megaport.store.errors import ReceiptError
from megaport.store.receipts import Receipt, read_receipt


def outdated(plan: Plan, results: Path) -> dict[str, str]:
    """The receipts under `results` that are missing or not of this run, and why.

    Named as Snakemake names them. Snakemake asks for the files of a target only: a rule whose
    receipt was dropped must run even where these exist.
    """
    found = {}
    everything: list[Receipt] = []
    for model in plan.config.models:
        receipts = _read_all(results / model)
        everything += receipts.values()
        for rule in RULES:
            before = [receipts[name] for name in READS.get(rule, ()) if name in receipts]
            if reason := _why(plan, rule, model, receipts.get(rule), before):
                found[f"{results}/{model}/{rule}.json"] = reason
    page = results / "report.json"
    if reason := _why(plan, "report", "", _read(page), everything):
        found[str(page)] = reason
    return found


def _why(
    plan: Plan, rule: str, model: str, receipt: Receipt | None, before: Iterable[Receipt]
) -> str | None:
    if receipt is None:
        return "missing"
    return why_outdated(receipt, plan.planned(rule, model), before)


def why_outdated(
    receipt: Receipt, planned: Mapping[str, Any], before: Iterable[Receipt]
) -> str | None:
    """What is other than `planned` (a fingerprint's parts) or than the receipts `before` it.

    A job may add parameters that only its machine knows; these are not compared.
    """
    told = receipt.parameters
    if {name: told.get(name) for name in planned["parameters"]} != planned["parameters"]:
        return "other parameters"
    if receipt.code != planned["code"]:
        return "other code"
    known = {item for earlier in before for item in _contents(earlier)}
    used = {item for files in receipt.inputs.values() for item in files.items()}
    return None if used <= known else "other inputs"


def _contents(receipt: Receipt) -> Iterable[tuple[str, Content]]:
    """Every file a receipt tells of: made, or found."""
    yield from receipt.outputs.items()
    for found in ("files", "members"):
        for name, item in receipt.facts.get(found, {}).items():
            yield name, Content.from_json(item)


def _read_all(folder: Path) -> dict[str, Receipt]:
    """The receipts of a model by rule; what is damaged was dropped before."""
    read = {rule: _read(path) for rule, path in receipts_in(folder).items()}
    return {rule: receipt for rule, receipt in read.items() if receipt}


def _read(path: Path) -> Receipt | None:
    try:
        return read_receipt(path)
    except ReceiptError:
        return None
