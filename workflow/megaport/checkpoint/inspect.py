"""What a checkpoint is, to look at: as JSON data and as a table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from megaport.checkpoint.model import Checkpoint, joined_shape
from megaport.table import Architecture, Decision
from megaport.tensors import total_bytes

_FACTS = (
    "family",
    "era",
    "serialization",
    "tensor_parallel",
    "pipeline_parallel",
    "virtual_pipeline",
    "version",
    "qkv_order",
    "iteration",
)
_NUMBERS = (
    "n_layer",
    "n_head",
    "n_embd",
    "n_inner",
    "n_positions",
    "vocab_size",
    "padded_vocab_size",
    "activation_function",
    "layer_norm_epsilon",
    "tie_word_embeddings",
    "layernorm_1p",
    "dtype",
)


def inspection(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, Any]:
    """JSON data: facts, architecture, decisions (reason, override), tensors, ignored, args.

    Holds no path, time or host, so the same checkpoint gives the same bytes anywhere.
    """
    decisions = (*checkpoint.decisions, *architecture.decisions)
    return {
        "checkpoint": {key: getattr(checkpoint, key) for key in _FACTS},
        "architecture": {key: getattr(architecture, key) for key in _NUMBERS},
        "parameters": _parameters(checkpoint),
        "bytes": total_bytes(s for shards in checkpoint.tensors.values() for s in shards),
        "decisions": [_decision(decision) for decision in decisions],
        "tensors": [_tensor(checkpoint, name) for name in checkpoint.tensors],
        "ignored": list(checkpoint.ignored),
        "args": None if checkpoint.args is None else dict(sorted(checkpoint.args.items())),
    }


def _parameters(checkpoint: Checkpoint) -> int:
    """Numbers that are trained, of the padded vocabulary; a tied head counts once."""
    return sum(int(s.array.size) for shards in checkpoint.tensors.values() for s in shards)


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "subject": decision.subject,
        "value": decision.value,
        "reason": decision.reason,
        "override": decision.override,
    }


def _tensor(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    shards = checkpoint.tensors[name]
    return {
        "name": name,
        "dtype": shards[0].dtype,
        "shape": list(joined_shape(checkpoint.table, name, shards)),
        "shards": len(shards),
        "axis": checkpoint.table.row(name).axis if len(shards) > 1 else None,
    }


def render(inspection: Mapping[str, Any]) -> str:
    """The same for people: plain text, one fact a line, no colours, ends in a newline."""
    sections = (
        ("Checkpoint", _pairs(inspection["checkpoint"])),
        ("Architecture", _pairs(inspection["architecture"])),
        ("Decisions", _decisions(inspection["decisions"])),
        (
            f"Tensors ({inspection['parameters']:,} parameters, {inspection['bytes']:,} bytes)",
            _tensors(inspection["tensors"]),
        ),
        ("Ignored", [[name] for name in inspection["ignored"]]),
    )
    return "\n".join(
        line for title, rows in sections if rows for line in (title, *_aligned(rows), "")
    )


def _pairs(facts: Mapping[str, Any]) -> list[list[str]]:
    return [[key, _text(value)] for key, value in facts.items()]


def _text(value: Any) -> str:
    return "not stated" if value is None else str(value)


def _decisions(decisions: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            decision["subject"],
            _text(decision["value"]),
            decision["reason"] + (f" [{decision['override']}]" if decision["override"] else ""),
        ]
        for decision in decisions
    ]


def _tensors(tensors: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            tensor["name"],
            tensor["dtype"],
            " x ".join(map(str, tensor["shape"])),
            f"{tensor['shards']} shards on axis {tensor['axis']}" if tensor["shards"] > 1 else "",
        ]
        for tensor in tensors
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield ("  " + "  ".join(cells)).rstrip()
