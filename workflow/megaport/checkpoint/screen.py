"""An inspection for people: one screen of plain text.

Needs nothing but the standard library.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from megaport.errors import printable, shown_text

WIDTH = 100
LONGEST = 90  # characters of a value
IGNORED = 6  # names shown of what is ignored
# What a checkpoint may leave open, as decisions call it: its key, and its flag on a command line.
OPEN = {
    "n_head": ("n_head", "--n-head"),
    "num_attention_heads": ("num_attention_heads", "--num-attention-heads"),
    "qkv_order": ("version", "--version"),
}
# The decisions that people are to look at first.
DOUBTFUL = ("unknown arguments", "constant weights")

Inspection = Mapping[str, Any]


def screen(found: Inspection, *, tensors: bool = False) -> str:
    """What the checkpoint is and every decision made; first, what is in doubt or nobody states."""
    doubtful = [d for d in found["decisions"] if d["subject"] in DOUBTFUL]
    decided = [d for d in found["decisions"] if not _is_open(d) and d not in doubtful]
    sections = (
        ("Doubtful", [line for decision in doubtful for line in _doubts(decision)]),
        ("Missing", [_missing(decision) for decision in filter(_is_open, found["decisions"])]),
        ("Checkpoint", [_facts(found["checkpoint"])]),
        ("Architecture", [_facts(found["architecture"])]),
        ("Decisions", [_decision(decision) for decision in decided]),
        ("Ignored", _ignored(found["ignored"])),
        ("Tensors", _aligned(list(map(_tensor, found["tensors"]))) if tensors else []),
    )
    return "\n".join([_headline(found), *(_section(*each) for each in sections if each[1])]) + "\n"


def left_open(found: Inspection) -> list[str]:
    """The keys of config.yaml that are needed and that nobody states."""
    return [OPEN[decision["subject"]][0] for decision in filter(_is_open, found["decisions"])]


def _is_open(decision: Mapping[str, Any]) -> bool:
    return decision["value"] is None and decision["subject"] in OPEN


def _headline(found: Inspection) -> str:
    model = found["architecture"]
    heads = model["n_head"] or "an unknown number of"
    return _wrapped(
        f"A {model['model_type']} of {model['n_layer']} layers, {heads} heads, "
        f"width {model['n_embd']}, {model['n_positions']} positions, "
        f"{model['vocab_size']:,} tokens: {found['parameters']:,} parameters, "
        f"{found['bytes']:,} bytes of {model['dtype']}",
        indent="",
    )


def _missing(decision: Mapping[str, Any]) -> str:
    key, flag = OPEN[decision["subject"]]
    return _wrapped(
        f"{key}: {printable(decision['reason'])}. Say {flag} NUMBER here, {key}=NUMBER behind "
        "Snakemake's --config."
    )


def _doubts(decision: Mapping[str, Any]) -> list[str]:
    said = (f"{_text(name)}: {_text(value)}" for name, value in decision["value"].items())
    return [_wrapped(line) for line in (*said, printable(decision["reason"]))]


def _facts(facts: Mapping[str, Any]) -> str:
    return _wrapped(", ".join(f"{key} {_text(value)}" for key, value in facts.items()))


def _decision(decision: Mapping[str, Any]) -> str:
    override = f" [{decision['override']}]" if decision["override"] else ""
    said = f"{decision['subject']}: {_text(decision['value'])} ({printable(decision['reason'])})"
    return _wrapped(said + override)


def _ignored(names: Sequence[str]) -> list[str]:
    more = [f"and {len(names) - IGNORED} more"] if len(names) > IGNORED else []
    return [_wrapped(", ".join([*map(_text, names[:IGNORED]), *more]))] if names else []


def _tensor(tensor: Mapping[str, Any]) -> list[str]:
    cut = f"{tensor['shards']} shards on axis {tensor['axis']}" if tensor["shards"] > 1 else ""
    return [_text(tensor["name"]), tensor["dtype"], " x ".join(map(str, tensor["shape"])), cut]


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join((title, *lines))


def _wrapped(text: str, indent: str = "  ") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [("  " + "  ".join(map(str.ljust, row, widths))).rstrip() for row in rows]


def _text(value: Any) -> str:
    return "not stated" if value is None else shown_text(str(value), LONGEST)
