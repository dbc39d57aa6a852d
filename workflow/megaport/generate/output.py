"""What `generate` leaves: JSON lines for programs, text for people, the same bytes every time."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from megaport.generate.device import Placement
from megaport.generate.generate import Generation


def write_generations(
    generations: Sequence[Generation], placement: Placement, engine: str, out: Path
) -> None:
    """Write out/generations.jsonl and out/generations.txt; the text says first where it ran."""
    lines = [json.dumps(asdict(g), ensure_ascii=False, sort_keys=True) for g in generations]
    _write(out / "generations.jsonl", "".join(line + "\n" for line in lines))
    header = f"device {placement.device}, dtype {placement.dtype}, engine {engine}"
    blocks = [f"{header}: {placement.reason}\n", *map(_block, generations)]
    _write(out / "generations.txt", "\n".join(blocks))


def _block(generation: Generation) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in generation.settings.items())
    prompt = "unconditional" if generation.prompt is None else repr(generation.prompt)
    if generation.prompt is None and generation.prompt_tokens > 1:
        prompt = f"{generation.prompt_tokens} token ids"
    text = generation.text
    body = text if text is not None else " ".join(map(str, generation.token_ids))
    return f"--- {prompt} ({settings})\n{body}\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
