"""The table agrees with the reader's names, with transformers' module, and with itself."""

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


def test_a_ranks_share_is_cut_on_the_tables_axis_only() -> None:
    shares = {row.megatron: row.shard_shape(SIZES, 4) for row in GPT2.rows(1, tied=True)}
    assert shares["layers.0.attention.query_key_value.weight"] == (12, 16)
    assert shares["layers.0.attention.dense.weight"] == (16, 4)
    assert shares["layers.0.mlp.dense_h_to_4h.bias"] == (10,)
    assert shares["layers.0.mlp.dense_4h_to_h.weight"] == (16, 10)
    assert shares["layers.0.mlp.dense_4h_to_h.bias"] == (16,)
    assert shares["word_embeddings.weight"] == (32, 16)
    assert shares["position_embeddings.weight"] == (8, 16)


def test_rows_come_in_the_order_of_the_forward_pass() -> None:
    names = [row.megatron for row in GPT2.rows(2, tied=False)]
    assert names[:2] == ["word_embeddings.weight", "position_embeddings.weight"]
    assert [name.split(".")[1] for name in names[2:-3]] == ["0"] * 12 + ["1"] * 12
    assert names[-3:] == ["final_layernorm.weight", "final_layernorm.bias", "output_layer.weight"]
