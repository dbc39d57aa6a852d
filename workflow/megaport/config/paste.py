"""What to put in config.yaml for a checkpoint that was looked at."""

import json
from collections.abc import Mapping
from typing import Any

from megaport.checkpoint.screen import Inspection, left_open
from megaport.config.model import Model
from megaport.fetch.sources import shown
from megaport.gpt2 import is_gpt2_vocabulary


def to_paste(found: Inspection, name: str, model: Model) -> str:
    """YAML of `model`, and of what the inspection tells; a question mark where nobody states it."""
    checkpoint = model.checkpoint.model_dump(exclude_defaults=True)
    if model.checkpoint.urls:
        checkpoint["urls"] = [shown(url) for url in model.checkpoint.urls]
    needed = dict.fromkeys(left_open(found), "?") | model.architecture.model_dump(exclude_none=True)
    if "version" in needed:
        checkpoint["version"] = needed.pop("version")
    lines = [
        "# In config.yaml, or a file of your own for --configfile",
        f"model: {name}",
        "models:",
        f"  {name}:",
        f"    checkpoint: {_flow(checkpoint)}",
        *([f"    architecture: {_flow(needed)}"] if needed else []),
        f"    tokenizer: {_tokenizer(model.tokenizer, found['architecture'])}",
    ]
    return "\n".join(lines) + "\n"


def _tokenizer(said: str | None, sizes: Mapping[str, Any]) -> str:
    if said not in (None, "gpt2", "auto"):
        return json.dumps(said)
    if is_gpt2_vocabulary(sizes["vocab_size"], sizes["padded_vocab_size"]):
        return "null" if said is None else "gpt2"
    return "null  # not as many tokens as GPT-2; or a folder of tokenizer files"


def _flow(values: Mapping[str, Any]) -> str:
    """A YAML mapping on one line."""
    said = (f"{key}: {'?' if value == '?' else json.dumps(value)}" for key, value in values.items())
    return "{" + ", ".join(said) + "}"
