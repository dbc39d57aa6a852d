"""Generations as files: JSON lines for programs, a readable page for people."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from megaport.generate.device import Placement
from megaport.generate.generate import Generation

RULER = "-" * 80


def write_generations(
    texts: Sequence[Generation], placement: Placement, engine: str, out: Path
) -> None:
    """Write out/generations.jsonl (one JSON object a text) and out/generations.txt, whose first
    line says where and in what dtype the text was made, and why."""
    where = {"device": placement.device, "dtype": placement.dtype, "engine": engine}
    lines = [json.dumps(asdict(text) | where, ensure_ascii=False) + "\n" for text in texts]
    (out / "generations.jsonl").write_text("".join(lines), encoding="utf-8")
    first = f"{placement.dtype} on {placement.device}, engine {engine}: {placement.reason}\n"
    page = [first, *(_readable(text) for text in texts)]
    (out / "generations.txt").write_text("\n".join(page), encoding="utf-8")


def _readable(text: Generation) -> str:
    told = ", ".join(f"{key} {value}" for key, value in text.settings.items())
    prompt = "(no prompt)" if text.prompt is None else text.prompt
    shown = text.text if text.text is not None else " ".join(map(str, text.token_ids))
    return f"{RULER}\n{prompt}  [{told}]\n\n{shown}\n"
