"""The table agrees with transformers' module."""

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from megaport.gpt2 import GPT2
from megaport.sizes import Sizes

SIZES = Sizes(padded_vocab_size=128, vocab_size=101, n_positions=8, n_embd=16, n_inner=40, n_head=4)


@pytest.mark.parametrize("tied", [True, False])
def test_every_tensor_transformers_saves_has_one_row_with_its_shape(tied: bool) -> None:
    config = GPT2Config(
        n_layer=3,
        n_head=4,
        n_embd=16,
        n_inner=40,
        n_positions=8,
        vocab_size=101,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=tied,
    )
    state = GPT2LMHeadModel(config).state_dict()
    if tied:
        del state["lm_head.weight"]
    found = {row.target: SIZES.shape(row.target_shape) for row in GPT2.rows(3, tied=tied)}
    assert found == {name: tuple(tensor.shape) for name, tensor in state.items()}
