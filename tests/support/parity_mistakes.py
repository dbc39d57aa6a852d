"""Classic conversion mistakes, planted file by file, and what parity says of them.

Nothing here is shared with the library's own list of mistakes: what is planted is what a wrong
converter would have written.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from megaport.parity.parity import examine
from megaport.parity.reference import Reference
from megaport.parity.report import ParityReport
from megaport.parity.verdict import Verdict
from megaport.tensors import Array
from support.subjects import OPTIONS, convert

Weights = dict[str, Array]
Plant = Callable[[Reference, Path], None]


@dataclass(frozen=True)
class Planted:
    """`plant` writes a wrong model directory; parity must name `cause` and the `first` stage."""

    cause: str
    plant: Plant
    first: str = "layer 0"
    says: str = ""


def assert_caught(subject: Reference, planted: Planted, out: Path) -> ParityReport:
    planted.plant(subject, out)
    report = examined(subject, out)
    assert "logits" in failed(report), "the wrong model's logits were let through"
    assert report.first == planted.first
    assert report.cause is not None and report.cause.name == planted.cause
    assert planted.says in report.cause.sentence
    assert report.cause.sentence in report.diagnosis
    return report


def examined(subject: Reference, model: Path, **options: Any) -> ParityReport:
    """All of parity, on model directory `model`."""
    given = replace(OPTIONS, **options)
    return examine(subject.checkpoint, subject.architecture, model, given)


def named(report: ParityReport, name: str) -> Verdict:
    return next(verdict for verdict in report.verdicts if verdict.name == name)


def failed(report: ParityReport) -> set[str]:
    return {verdict.name for verdict in report.failed}


def misread(**checkpoint: Any) -> Plant:
    """A right conversion of a checkpoint whose facts were read wrongly."""

    def plant(subject: Reference, out: Path) -> None:
        convert(subject.with_tensors({}, **checkpoint), out)

    return plant


def ranks_reversed(*parts: str) -> Plant:
    """The rank files in the wrong order, for the tensors whose names contain one of `parts`."""

    def plant(subject: Reference, out: Path) -> None:
        tensors = {
            name: shards[::-1] if any(part in name for part in parts) else shards
            for name, shards in subject.checkpoint.tensors.items()
        }
        convert(subject.with_tensors(tensors), out)

    return plant


def ranks_joined(subject: Reference, out: Path) -> None:
    """The ranks' QKV rows concatenated, then undone as if one rank had written them."""
    convert(subject, out)
    assert subject.checkpoint.qkv_order == "3,np,hn"

    def edit(weights: Weights) -> None:
        for layer in range(subject.architecture.n_layer):
            for kind in ("weight", "bias"):
                name = f"layers.{layer}.attention.query_key_value.{kind}"
                rows = np.concatenate([s.array for s in subject.checkpoint.tensors[name]])
                weights[f"transformer.h.{layer}.attn.c_attn.{kind}"] = np.ascontiguousarray(rows.T)

    edit_weights(out, edit)


def edited(change: Callable[[Weights], None]) -> Plant:
    """A right conversion whose tensors `change` then edits in place."""

    def plant(subject: Reference, out: Path) -> None:
        convert(subject, out)
        edit_weights(out, change)

    return plant


def configured(**fields: Any) -> Plant:
    """A right conversion with other values in config.json."""

    def plant(subject: Reference, out: Path) -> None:
        convert(subject, out)
        edit_config(out, **fields)

    return plant


def untransposed(name: str) -> Plant:
    """The Linear's [out, in] elements under Conv1D's [in, out] shape, in every layer."""

    def change(weights: Weights) -> None:
        for key in list(weights):
            if key.endswith(name):
                weights[key] = np.ascontiguousarray(weights[key].T).reshape(weights[key].shape)

    return edited(change)


def swap(first: str, second: str) -> Plant:
    """The tensors whose names contain `first` and those that contain `second`, exchanged."""

    def change(weights: Weights) -> None:
        for key in [key for key in weights if first in key]:
            other = key.replace(first, second)
            weights[key], weights[other] = weights[other], weights[key]

    return edited(change)


def rows_shifted(name: str, by: int) -> Plant:
    def change(weights: Weights) -> None:
        weights[name] = np.roll(weights[name], by, axis=0)

    return edited(change)


def head_tied(subject: Reference, out: Path) -> None:
    """A model with a head of its own, written as if it had none."""
    convert(subject, out)
    edit_weights(out, lambda weights: weights.pop("lm_head.weight"))
    edit_config(out, tie_word_embeddings=True)


def edit_weights(out: Path, change: Callable[[Weights], object]) -> None:
    path = out / "model.safetensors"
    weights = dict(load_file(path))
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def edit_config(out: Path, **fields: Any) -> None:
    path = out / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
