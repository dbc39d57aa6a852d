"""GPT-2's tokenizer as files: the published vocabulary, and what transformers builds from it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from megaport.errors import MegaportError
from megaport.gpt2 import END_OF_TEXT

# Digests of OpenAI's files, which Hugging Face's `gpt2` has too (docs: facts of the vocabulary).
PUBLISHED = {
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
TOKENS = END_OF_TEXT + 1
SPECIAL = "<|endoftext|>"


class TokenizerError(MegaportError):
    """A vocabulary that is not GPT-2's, or that the model has no rows for."""


def write_tokenizer(resources: Path, out: Path, config: dict[str, Any]) -> None:
    """Write vocab.json, merges.txt, tokenizer.json and tokenizer_config.json into folder `out`.

    `resources` holds the two published files; `config` is the model's config.json. Raises
    TokenizerError when a file differs from the published one or the model has fewer rows than
    the vocabulary: its ids would point past the embedding.
    """
    if config["vocab_size"] < TOKENS:
        raise TokenizerError(
            "tokenizer gpt2",
            seen=f"{TOKENS} tokens for a model of vocab_size {config['vocab_size']}",
            expected="a vocabulary no larger than the model's",
            remedy="Set `tokenizer: null`, or correct `architecture.vocab_size`.",
        )
    for name, digest in PUBLISHED.items():
        _copy_published(resources / name, out / name, digest)
    (out / "tokenizer.json").write_text(_fast_tokenizer(out), encoding="utf-8")
    settings = json.dumps(_settings(config["n_positions"]), indent=2)
    (out / "tokenizer_config.json").write_text(settings + "\n", encoding="utf-8")


def _copy_published(source: Path, target: Path, digest: str) -> None:
    try:
        seen = hashlib.sha256(source.read_bytes()).hexdigest()
    except OSError as error:
        seen = str(error.strerror)
    if seen != digest:
        raise TokenizerError(
            str(source),
            seen=seen,
            expected=f"GPT-2's published file, SHA-256 {digest}",
            remedy="Restore resources/gpt2 from the repository.",
        )
    shutil.copyfile(source, target)


def _fast_tokenizer(folder: Path) -> str:
    """tokenizer.json: GPT-2's byte-level BPE; <|endoftext|> is one token wherever it stands."""
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import BPE

    vocabulary, merges = str(folder / "vocab.json"), str(folder / "merges.txt")
    tokenizer = Tokenizer(BPE.from_file(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(SPECIAL, normalized=False, special=True)])
    return str(tokenizer.to_str(pretty=False))


def _settings(positions: int) -> dict[str, Any]:
    """GPT-2 has no pad token; <|endoftext|> pads, so that batches and data collators just work."""
    return {
        "add_prefix_space": False,
        "bos_token": SPECIAL,
        "eos_token": SPECIAL,
        "errors": "replace",
        "model_max_length": positions,
        "pad_token": SPECIAL,
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": SPECIAL,
    }
