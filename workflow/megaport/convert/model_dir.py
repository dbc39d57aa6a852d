"""The model directory: what `from_pretrained`, `pipeline` and Trainer look for, in one folder."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megaport.convert.model_card import model_card
from megaport.convert.tokenizer import ROLES, TokenizerFiles, write_tokenizer
from megaport.convert.transforms import CHUNK_BYTES
from megaport.convert.weights import read_config, read_weights, write_json
from megaport.tensors import TORCH_NAME

DIGESTS = "SHA256SUMS"


def assemble_model(
    converted: Path,
    out: Path,
    *,
    tokenizer: TokenizerFiles | None,
    provenance: Mapping[str, Any],
) -> dict[str, str]:
    """Write the model directory `out` from folder `converted` that `convert_checkpoint` wrote.

    `tokenizer`: None for a model without. `provenance`, for the model card: `name`, `content` (the
    checkpoint's content digest), `inspection` (`checkpoint.inspect.inspection`'s data), `decisions`
    (what the conversion adds to them) and `software` (package -> version) where known. Holds no
    time, host or path: same input, same bytes.

    Returns the SHA-256 of each file by name, as SHA256SUMS lists them, and of SHA256SUMS itself.
    Raises TokenizerError when the tokenizer is not as its digests say, or larger than the model;
    UnreadableModelError for a folder `converted` that is damaged.
    """
    config = read_config(converted)
    out.mkdir(parents=True)
    if tokenizer is not None:
        ids = write_tokenizer(
            tokenizer, out, rows=config["vocab_size"], positions=positions_of(config)
        )
        config |= {key: ids.get(key) for key in ("bos_token_id", "eos_token_id")}
    else:
        ids = {f"{role}_token_id": config["eos_token_id"] for role in ROLES}
    digests = {path.name: _copy(path, out / path.name) for path in sorted(converted.glob("model*"))}
    write_json(out / "config.json", config)
    write_json(out / "generation_config.json", _generation_config(config, ids))
    card = model_card(
        config,
        provenance,
        stored=_dtype(converted),
        tokenizer=tokenizer is not None,
        published=tokenizer is not None and tokenizer.published,
    )
    (out / "README.md").write_text(card, encoding="utf-8")
    for path in out.iterdir():
        digests.setdefault(path.name, _digest(path))
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    (out / DIGESTS).write_text("".join(lines), encoding="utf-8")
    return digests | {DIGESTS: _digest(out / DIGESTS)}


def positions_of(config: Mapping[str, Any]) -> int:
    """How many tokens a text may have, whatever the architecture calls it."""
    return int(config.get("n_positions") or config["max_position_embeddings"])


def _dtype(converted: Path) -> str:
    """The weights' dtype by torch's name; they have one."""
    return TORCH_NAME[next(iter(read_weights(converted).values())).dtype]


def _generation_config(config: Mapping[str, Any], ids: Mapping[str, int | None]) -> dict[str, Any]:
    """What ends a text and pads a batch, where the model has the token; and how long a text may be.

    Learned positions end where their rows do: one more is an IndexError, so that `pipeline`, which
    asks for 256 new tokens, needs the bound. Rotary positions have no end.
    """
    known = {key: number for key, number in sorted(ids.items()) if number is not None}
    return known | ({"max_length": config["n_positions"]} if "n_positions" in config else {})


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
