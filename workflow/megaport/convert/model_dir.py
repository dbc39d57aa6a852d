"""The model directory: what `from_pretrained`, `pipeline` and Trainer look for, in one folder."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megaport.convert.model_card import model_card
from megaport.convert.move import CHUNK_BYTES
from megaport.convert.tokenizer_files import write_tokenizer
from megaport.gpt2 import END_OF_TEXT

DIGESTS = "SHA256SUMS"


def assemble_model(
    converted: Path, out: Path, *, tokenizer: Path | None, provenance: Mapping[str, Any]
) -> dict[str, str]:
    """Write the model directory `out` from folder `converted` that `convert_checkpoint` wrote.

    `tokenizer`: folder of GPT-2's vocab.json and merges.txt, or None for a model without tokenizer
    files. `provenance`, for the model card: `name`, `content` (the checkpoint's content digest),
    `inspection` (`checkpoint.inspect.inspection`'s data), and `software` (package -> version) where
    known. Holds no time, host or path: same input, same bytes.

    Returns the SHA-256 of each file by name, as SHA256SUMS lists them, and of SHA256SUMS itself.
    Raises TokenizerError when the vocabulary is not the published one or larger than the model.
    """
    config = json.loads((converted / "config.json").read_text(encoding="utf-8"))
    out.mkdir(parents=True)
    if tokenizer is not None:
        write_tokenizer(tokenizer, out, config)
    digests = {path.name: _copy(path, out / path.name) for path in _weights_and_config(converted)}
    settings = json.dumps(_generation_config(config), indent=2) + "\n"
    (out / "generation_config.json").write_text(settings, encoding="utf-8")
    card = model_card(config, provenance, tokenizer=tokenizer is not None)
    (out / "README.md").write_text(card, encoding="utf-8")
    for path in out.iterdir():
        digests.setdefault(path.name, _digest(path))
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    (out / DIGESTS).write_text("".join(lines), encoding="utf-8")
    return digests | {DIGESTS: _digest(out / DIGESTS)}


def _weights_and_config(converted: Path) -> list[Path]:
    return [converted / "config.json", *sorted(converted.glob("model*.safetensors*"))]


def _generation_config(config: dict[str, Any]) -> dict[str, Any]:
    """What `generate` needs to end a text and to pad a batch, where the model has the token."""
    if config["eos_token_id"] is None:
        return {}
    return {f"{role}_token_id": END_OF_TEXT for role in ("bos", "eos", "pad")}


def _copy(source: Path, target: Path) -> str:
    """Copy the bytes, through a symlink too, and return their SHA-256 from the same reading."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
