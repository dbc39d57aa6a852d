"""What to put in config.yaml for a checkpoint that was looked at."""

import json
from collections.abc import Mapping
from typing import Any

from megaport.checkpoint.screen import Inspection, left_open
from megaport.config.model import Model
from megaport.fetch.sources import shown
from megaport.gpt2 import END_OF_TEXT, end_of_text

TOKENS = END_OF_TEXT + 1


def to_paste(found: Inspection, name: str, model: Model) -> str:
    """YAML of `model`, and of what the inspection tells; a question mark where nobody states it."""
    checkpoint = model.checkpoint.model_dump(exclude_defaults=True)
    if model.checkpoint.urls:
        checkpoint["urls"] = [shown(url) for url in model.checkpoint.urls]
    needed = dict.fromkeys(left_open(found), "?") | model.architecture.model_dump(exclude_none=True)
    if "version" in needed:
        checkpoint["version"] = needed.pop("version")
    if _fits(found) and found["architecture"]["vocab_size"] > TOKENS:
        needed.setdefault("vocab_size", TOKENS)  # the rows above are Megatron's padding
    rest = model.model_dump(exclude_defaults=True, exclude={"checkpoint", "architecture"})
    rest["tokenizer"] = _tokenizer(model.tokenizer, found)
    lines = [
        "# In config.yaml, or a file of your own for --configfile",
        f"model: {name}",
        "models:",
        f"  {name}:",
        f"    checkpoint: {_flow(checkpoint)}",
        *([f"    architecture: {_flow(needed)}"] if needed else []),
        *(f"    {key}: {json.dumps(value)}" for key, value in rest.items()),
    ]
    return "\n".join(lines) + "\n"


def _fits(found: Inspection) -> bool:
    sizes = found["architecture"]
    return end_of_text(sizes["vocab_size"], sizes["padded_vocab_size"]) is not None


def _tokenizer(said: str | None, found: Inspection) -> str | None:
    """None stands for token ids, or for a folder of tokenizer files that only people know."""
    if said in ("gpt2", "auto"):
        return "gpt2" if _fits(found) else None
    return said


def _flow(values: Mapping[str, Any]) -> str:
    """A YAML mapping on one line."""
    said = (f"{key}: {'?' if value == '?' else json.dumps(value)}" for key, value in values.items())
    return "{" + ", ".join(said) + "}"
