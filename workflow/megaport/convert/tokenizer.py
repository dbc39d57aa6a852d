"""A model's tokenizer: GPT-2's published one, or files of one's own, as transformers loads them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megaport.errors import MegaportError
from megaport.gpt2 import end_of_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Digests of OpenAI's files, which Hugging Face's `gpt2` has too (docs: facts of the vocabulary).
PUBLISHED = {
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
WHOLE, SETTINGS = "tokenizer.json", "tokenizer_config.json"
SENTENCEPIECE = "tokenizer.model"
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
# What config.yaml says for GPT-2's tokenizer, always or where the vocabulary is its own.
GPT2, AUTO = "gpt2", "auto"
ROLES = ("bos", "eos", "pad")


class TokenizerError(MegaportError):
    """Tokenizer files that cannot be read, or that the model has no rows for."""


@dataclass(frozen=True)
class TokenizerFiles:
    """A folder, and the SHA-256 of the files in it that are a tokenizer, by name."""

    folder: Path
    digests: Mapping[str, str]

    @property
    def published(self) -> bool:
        return self.digests == PUBLISHED


def files_in(folder: Path) -> TokenizerFiles:
    """What is a tokenizer of the files that lie there now."""
    paths = [folder / name for name in FILES if (folder / name).is_file()]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return TokenizerFiles(folder, digests)


def chosen_tokenizer(
    said: str | Mapping[str, str] | None,
    find: Callable[[str], Path],
    named: str,
    sizes: Mapping[str, Any],
    own: Path,
) -> TokenizerFiles | None:
    """The tokenizer of a model whose vocabulary `sizes` tell; None for a model without.

    `said`: "gpt2", "auto", None, or the digests of the files in the folder `named`, which `find`
    finds. "auto" is what the checkpoint brought, in the folder `own`, else GPT-2's where the
    vocabulary is.
    """
    if said is None:
        return None
    if said == AUTO and (brought := files_in(own)).digests:
        return brought
    if said == AUTO and end_of_text(sizes["vocab_size"], sizes["padded_vocab_size"]) is None:
        return None
    if isinstance(said, str):
        return TokenizerFiles(find("resources/gpt2"), PUBLISHED)
    return TokenizerFiles(find(named), said)


def open_tokenizer(folder: Path) -> "Tokenizer":
    """The tokenizer of tokenizer.json, else GPT-2's byte-level BPE of vocab.json and merges.txt.

    Raises TokenizerError for a folder without either, or whose files the library cannot read.
    """
    from tokenizers import Tokenizer

    names = [WHOLE] if (folder / WHOLE).is_file() else [*PUBLISHED]
    if missing := [name for name in names if not (folder / name).is_file()]:
        seen = f"no {' and no '.join(missing)}"
        if (folder / SENTENCEPIECE).is_file():
            seen += (
                f", but {SENTENCEPIECE}: AutoTokenizer and its save_pretrained make {WHOLE} of it"
            )
        raise _unusable(folder, seen)
    try:
        if names == [WHOLE]:
            return Tokenizer.from_file(str(folder / WHOLE))
        return _byte_level_bpe(*(str(folder / name) for name in names))
    except Exception as error:  # what the library raises for every damaged file
        raise _unusable(folder, str(error)) from error


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


def write_tokenizer(
    files: TokenizerFiles, out: Path, *, rows: int, positions: int
) -> dict[str, int]:
    """Write a tokenizer into folder `out` for a model of so many rows and positions.

    The files stay as they are; tokenizer.json and tokenizer_config.json are made where there are
    none. Returns `special_ids`. Raises TokenizerError, also where a file is not as its digest says.
    """
    for name, digest in files.digests.items():
        (out / name).write_bytes(_read(files.folder / name, digest))
    tokenizer = open_tokenizer(out)
    check_vocabulary(tokenizer, rows)
    if not (out / WHOLE).exists():
        (out / WHOLE).write_text(tokenizer.to_str(pretty=False), encoding="utf-8")
    if not (out / SETTINGS).exists():
        settings = json.dumps(_settings(tokenizer, positions), indent=2) + "\n"
        (out / SETTINGS).write_text(settings, encoding="utf-8")
    return special_ids(tokenizer, out)


def special_ids(tokenizer: "Tokenizer", folder: Path) -> dict[str, int]:
    """bos_token_id, eos_token_id and pad_token_id, where there are any; what ends a text also pads.

    Raises TokenizerError for a tokenizer_config.json that is none.
    """
    path = folder / SETTINGS
    try:
        said = json.loads(path.read_text("utf-8")) if path.is_file() else _settings(tokenizer, 0)
        tokens = {role: said.get(f"{role}_token") for role in ROLES}
    except (ValueError, AttributeError) as error:
        raise _unusable(path, str(error)) from error
    texts = {r: t.get("content") if isinstance(t, dict) else t for r, t in tokens.items()}
    texts["pad"] = texts["pad"] or texts["eos"]
    ids = {role: tokenizer.token_to_id(text) for role, text in texts.items() if text}
    return {f"{role}_token_id": number for role, number in ids.items() if number is not None}


def _read(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unlike(path, str(error.strerror), digest) from error
    if (seen := hashlib.sha256(content).hexdigest()) != digest:
        raise _unlike(path, seen, digest)
    return content


def _unlike(path: Path, seen: str, digest: str) -> TokenizerError:
    return TokenizerError(
        str(path),
        seen=seen,
        expected=f"the file with SHA-256 {digest}",
        remedy="Restore GPT-2's from the repository; run again where a file of your own changed.",
    )


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


def _settings(tokenizer: "Tokenizer", positions: int) -> dict[str, Any]:
    """GPT-2 has no pad token; <|endoftext|> pads, so that batches and data collators just work."""
    length = {"model_max_length": positions}
    if tokenizer.token_to_id(SPECIAL) is None:
        return length | {"tokenizer_class": "PreTrainedTokenizerFast"}
    return {
        "add_prefix_space": False,
        "bos_token": SPECIAL,
        "eos_token": SPECIAL,
        "errors": "replace",
        **length,
        "pad_token": SPECIAL,
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": SPECIAL,
    }


def _unusable(path: Path, seen: str) -> TokenizerError:
    return TokenizerError(
        str(path),
        seen=seen,
        expected=f"a folder with {WHOLE}, or with {' and '.join(PUBLISHED)}",
        remedy="Correct the files, or set `tokenizer` to gpt2 or to null.",
    )
