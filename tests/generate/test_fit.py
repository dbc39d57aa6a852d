"""Vocabulary, tokenizer and prompts against each other, before a byte is moved."""

from pathlib import Path
from typing import Any

import pytest

from megaport.convert.tokenizer import TokenizerError, TokenizerFiles
from megaport.errors import MegaportError
from megaport.generate.fit import check_fit
from support.subjects import TOKENIZER

SIZES = {"vocab_size": 50257, "padded_vocab_size": 50304, "n_positions": 16}


def refused(prompt: dict[str, Any], tokenizer: TokenizerFiles | None = TOKENIZER) -> str:
    with pytest.raises(MegaportError) as error:
        check_fit(SIZES, tokenizer, [prompt])
    return str(error.value)


def test_what_fits_passes() -> None:
    prompts = [{}, {"prompt": "It is a truth"}, {"token_ids": [50256]}, {"max_length": 16}]
    check_fit(SIZES, TOKENIZER, prompts)
    check_fit(SIZES | {"vocab_size": 7}, None, None)
    check_fit(SIZES | {"vocab_size": 7}, None, [{"token_ids": [6], "max_length": 2}])


def test_what_does_not_fit_is_said() -> None:
    assert "a model without tokenizer" in refused({"prompt": "Emma"}, tokenizer=None)
    with pytest.raises(MegaportError, match="without bos_token_id"):
        check_fit(SIZES | {"vocab_size": 50256}, None, [{}])
    assert "[50257]" in refused({"token_ids": [1, 50257]})
    assert "17 for a prompt of 1 tokens" in refused({"max_length": 17})
    assert "16 for a prompt of 22 tokens" in refused({"prompt": "Emma " * 20})
    with pytest.raises(TokenizerError, match="50257 tokens for a model of vocab_size 50256"):
        check_fit(SIZES | {"vocab_size": 50256}, TOKENIZER, None)
    with pytest.raises(TokenizerError, match="no vocab"):
        check_fit(SIZES, TokenizerFiles(Path("/nowhere"), {}), None)
