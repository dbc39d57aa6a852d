"""The assembled tokenizer: nothing is lost, and GPT-2's gives the ids that were published."""

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from megaport.parity.converted import unreadable
from megaport.parity.verdict import Verdict, equal, judge, not_applicable

NAME = "tokenizer"
QUESTION = "Does the tokenizer lose nothing, and give the ids that were published for it?"
# Texts are cut into windows here, so transformers need not warn of their length.
ANY_LENGTH = 1 << 40
FILES = ("tokenizer.json", "vocab.json")
# One each of what byte-level BPE and GPT-2's pattern can get wrong: contractions, spaces in front
# and behind, runs of white space, digits, accents composed or not, scripts without spaces, right to
# left, emoji joined, beyond the basic plane, controls, byte order mark, the special token's text.
SAMPLES = (
    "It's they'll we've I'd 'tis 'S don't.",
    "  two before, two after  ",
    "tab\tline\nend\r\n\n\n  indented",
    "3.14159 and 1,000,000 \u00b2\u00bd\u2167",
    "caf\u00e9 cafe\u0301 \u00c5ngstr\u00f6m \u0130stanbul \u1e9e",
    "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0 \u4e2d\u6587 \ud55c\uad6d\uc5b4",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea "
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f4\U000e0067\U000e007f \U0001d4d0",
    "a\u00a0b\u2003c\u3000d\u200be \ufeff \u2028\u2029",
    "(){}[]<>#!?... -- \u2014 \u2018quoted\u2019 \u201ctwice\u201d",
    "<|endoftext",
)
CHARACTERS = tuple(map(chr, range(256)))


def load_tokenizer(model_dir: Path) -> Any:
    """AutoTokenizer's choice for the directory, offline; None where it has no files of one.

    ModelUnreadableError for files that are damaged.
    """
    if not any((model_dir / name).is_file() for name in FILES):
        return None
    try:
        return AutoTokenizer.from_pretrained(
            model_dir, local_files_only=True, model_max_length=ANY_LENGTH
        )
    except Exception as error:  # tokenizers raises bare Exception for a damaged tokenizer.json
        raise unreadable(model_dir, "AutoTokenizer.from_pretrained", str(error)) from error


def check_tokenizer(
    tokenizer: Any, text: str, vocab_size: int, published: Path | None = None
) -> Verdict:
    """The `text` there and back; and of GPT-2's, which loses nothing and whose ids are `published`,
    those, Unicode samples and every character below 256. Others may normalize what they are given.
    """
    if tokenizer is None:
        why = "the model has no tokenizer; the other checks use seeded token ids"
        return not_applicable(NAME, QUESTION, why)
    samples = [text]
    if published is not None:
        samples += [*SAMPLES, *CHARACTERS, "".join(CHARACTERS)]
    lost = [sample for sample in samples if tokenizer.decode(_encode(tokenizer, sample)) != sample]
    beyond = sum(token >= vocab_size for token in tokenizer.get_vocab().values())
    measures = [
        equal(f"texts changed by a round trip, of {len(samples)}", len(lost), 0),
        equal("ids beyond the model's vocabulary", beyond, 0),
    ]
    unlike: list[str] = []
    if published is not None:
        known = json.loads(published.read_text(encoding="utf-8"))["texts"]
        unlike = [case["text"] for case in known if _encode(tokenizer, case["text"]) != case["ids"]]
        measures.append(
            equal(f"texts with other ids than published, of {len(known)}", len(unlike), 0)
        )
    return judge(
        NAME,
        QUESTION,
        measures,
        reason="a tokenizer that loses text, or gives ids the model has not, is not the model's; "
        "GPT-2's byte-level BPE is exact: every byte has a token, and its merges leave no choice",
        note=f"first: {(lost + unlike)[0][:40]!r}" if lost + unlike else "",
    )


def _encode(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids
