"""Vocabulary, tokenizer and prompts, held against each other before a model is made."""

from collections.abc import Mapping, Sequence
from typing import Any

from megaport.config.model import Prompt
from megaport.convert.tokenizer import (
    TokenizerFiles,
    check_vocabulary,
    open_tokenizer,
    positions_of,
    special_ids,
)
from megaport.generate.prompts import Takes, token_ids


def check_fit(
    config: Mapping[str, Any],
    tokenizer: TokenizerFiles | None,
    prompts: Sequence[Mapping[str, Any]] | None,
) -> None:
    """Raise TokenizerError or PromptError for what the model of a `config.json` cannot take.

    `prompts`: those of config.yaml that were written for this model, if any were.
    """
    opened, begins = None, config["bos_token_id"]
    if tokenizer:
        opened = open_tokenizer(tokenizer.folder)
        check_vocabulary(opened, config["vocab_size"])
        begins = special_ids(opened, tokenizer.folder).get("bos_token_id")
    takes = Takes(config["vocab_size"], positions_of(config), begins, opened)
    for prompt in prompts or ():
        token_ids(Prompt.model_validate(prompt), takes)
