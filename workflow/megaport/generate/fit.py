"""Vocabulary, tokenizer and prompts, held against each other before a model is made."""

from collections.abc import Mapping, Sequence
from typing import Any

from megaport.config.model import Prompt
from megaport.convert.tokenizer import (
    TokenizerFiles,
    check_vocabulary,
    open_tokenizer,
    special_ids,
)
from megaport.generate.prompts import Takes, token_ids
from megaport.gpt2 import end_of_text


def check_fit(
    sizes: Mapping[str, Any],
    tokenizer: TokenizerFiles | None,
    prompts: Sequence[Mapping[str, Any]] | None,
) -> None:
    """Raise TokenizerError or PromptError for what a model of such `sizes` cannot take.

    `sizes`: an inspection's `architecture`. `prompts`: those of config.yaml that were written for
    this model, if any were.
    """
    rows = sizes["vocab_size"]
    opened, begins = None, end_of_text(rows, sizes["padded_vocab_size"])
    if tokenizer:
        opened = open_tokenizer(tokenizer.folder)
        check_vocabulary(opened, rows)
        begins = special_ids(opened, tokenizer.folder).get("bos_token_id")
    takes = Takes(rows, sizes["n_positions"], begins, opened)
    for prompt in prompts or ():
        token_ids(Prompt.model_validate(prompt), takes)
