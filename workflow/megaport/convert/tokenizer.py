"""A model's tokenizer: GPT-2's published one, or files of one's own, as transformers loads them."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megaport.errors import MegaportError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Digests of OpenAI's files, which Hugging Face's `gpt2` has too (docs: facts of the vocabulary).
PUBLISHED = {
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
WHOLE, SETTINGS = "tokenizer.json", "tokenizer_config.json"
# What is taken of a folder, where it is there; transformers reads each by its name.
FILES = (
    *PUBLISHED,
    WHOLE,
    SETTINGS,
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
SPECIAL = "<|endoftext|>"
ROLES = ("bos", "eos", "pad")


class TokenizerError(MegaportError):
    """Tokenizer files that cannot be read, or that the model has no rows for."""


def open_tokenizer(folder: Path) -> "Tokenizer":
    """The tokenizer of tokenizer.json, else GPT-2's byte-level BPE of vocab.json and merges.txt.

    Raises TokenizerError for a folder without either, or whose files the library cannot read.
    """
    from tokenizers import Tokenizer

    names = [WHOLE] if (folder / WHOLE).is_file() else [*PUBLISHED]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise _unusable(folder, f"no {' and no '.join(missing)}")
    try:
        if names == [WHOLE]:
            return Tokenizer.from_file(str(folder / WHOLE))
        return _byte_level_bpe(*(str(folder / name) for name in names))
    except Exception as error:  # what the library raises for every damaged file
        raise _unusable(folder, str(error)) from error


def check_published(folder: Path) -> None:
    """Raise TokenizerError where `folder` does not hold GPT-2's two published files."""
    for name, digest in PUBLISHED.items():
        try:
            seen = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            seen = str(error.strerror)
        if seen != digest:
            raise TokenizerError(
                str(folder / name),
                seen=seen,
                expected=f"GPT-2's published file, SHA-256 {digest}",
                remedy="Restore resources/gpt2 from the repository.",
            )


def check_vocabulary(tokenizer: "Tokenizer", rows: int) -> None:
    """Raise TokenizerError where the tokenizer has ids past the model's `rows` of the embedding."""
    tokens = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if tokens > rows:
        raise TokenizerError(
            "tokenizer",
            seen=f"{tokens} tokens for a model of vocab_size {rows}",
            expected="a vocabulary no larger than the model's",
            remedy="Set `tokenizer` to the model's own or to null, or correct "
            "`architecture.vocab_size`.",
        )


def write_tokenizer(folder: Path, out: Path, *, rows: int, positions: int) -> dict[str, int]:
    """Write the tokenizer of `folder` into folder `out` for a model of so many rows and positions.

    The folder's own files stay as they are; tokenizer.json and tokenizer_config.json are made
    where it has none. Returns bos_token_id, eos_token_id and pad_token_id, where it has them; what
    ends a text also pads. Raises TokenizerError.
    """
    tokenizer = open_tokenizer(folder)
    check_vocabulary(tokenizer, rows)
    for name in FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    if not (out / WHOLE).exists():
        (out / WHOLE).write_text(tokenizer.to_str(pretty=False), encoding="utf-8")
    if not (out / SETTINGS).exists():
        special = SPECIAL if tokenizer.token_to_id(SPECIAL) is not None else None
        text = json.dumps(_settings(special, positions), indent=2) + "\n"
        (out / SETTINGS).write_text(text, encoding="utf-8")
    return _special_ids(tokenizer, out / SETTINGS)


def _byte_level_bpe(vocabulary: str, merges: str) -> "Tokenizer":
    """GPT-2's: <|endoftext|> is one token wherever it stands."""
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import BPE

    tokenizer = Tokenizer(BPE.from_file(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    if tokenizer.token_to_id(SPECIAL) is not None:
        tokenizer.add_special_tokens([AddedToken(SPECIAL, normalized=False, special=True)])
    return tokenizer


def _settings(special: str | None, positions: int) -> dict[str, Any]:
    """GPT-2 has no pad token; <|endoftext|> pads, so that batches and data collators just work."""
    if special is None:
        return {"model_max_length": positions, "tokenizer_class": "PreTrainedTokenizerFast"}
    return {
        "add_prefix_space": False,
        "bos_token": special,
        "eos_token": special,
        "errors": "replace",
        "model_max_length": positions,
        "pad_token": special,
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": special,
    }


def _special_ids(tokenizer: "Tokenizer", settings: Path) -> dict[str, int]:
    try:
        said = json.loads(settings.read_text(encoding="utf-8"))
        tokens = {role: said.get(f"{role}_token") for role in ROLES}
    except (ValueError, AttributeError) as error:
        raise _unusable(settings, str(error)) from error
    texts = {r: t.get("content") if isinstance(t, dict) else t for r, t in tokens.items()}
    texts["pad"] = texts["pad"] or texts["eos"]
    ids = {role: tokenizer.token_to_id(text) for role, text in texts.items() if text}
    return {f"{role}_token_id": number for role, number in ids.items() if number is not None}


def _unusable(path: Path, seen: str) -> TokenizerError:
    return TokenizerError(
        str(path),
        seen=seen,
        expected=f"a folder with {WHOLE}, or with {' and '.join(PUBLISHED)}",
        remedy="Correct the files, or set `tokenizer` to gpt2 or to null.",
    )
