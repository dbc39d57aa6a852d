"""The GPT-2 a checkpoint is: what args, tensors and config say, and who wins."""

import re
from pathlib import Path
from typing import Any

import pytest

from megaport.checkpoint.architecture import describe_architecture
from megaport.decide import ArchitectureError
from support.megatron_model import Model
from support.reading import opened

SILENT = {"layout": "transformer", "with_args": False}
ALL = {
    "n_head": 4,
    "n_layer": 2,
    "n_embd": 16,
    "n_inner": 64,
    "n_positions": 8,
    "vocab_size": 30,
    "padded_vocab_size": 32,
    "tie_word_embeddings": True,
    "layernorm_1p": False,
    "layer_norm_epsilon": 1e-5,
}


@pytest.mark.parametrize(
    ("form", "given", "expected"),
    [
        ({"layout": "core", "tp": 2}, {}, ALL),
        (SILENT, {"n_head": 2}, {"n_head": 2}),
        ({"model": Model(vocab=32)}, {}, {"vocab_size": 32, "padded_vocab_size": 32}),
        ({"model": Model(vocab=32)}, {"vocab_size": 32}, {"vocab_size": 32}),
        ({}, {"vocab_size": 5}, {"vocab_size": 5, "padded_vocab_size": 32}),
        ({"args": {"vocab_size": 40}}, {"vocab_size": 30}, {"vocab_size": 30}),
        *(
            ({}, {"activation_function": name}, {"activation_function": name})
            for name in ("gelu", "gelu_new", "gelu_fast", "relu")
        ),
        *(
            ({"args": {"layernorm_epsilon": None, name: 1e-6}}, given, {"layer_norm_epsilon": said})
            for name in ("norm_epsilon", "layernorm_epsilon")
            for given, said in (({}, 1e-6), ({"layer_norm_epsilon": 1e-4}, 1e-4))
        ),
        *(
            ({"layout": "core", "args": {name: True}}, {}, {"layernorm_1p": True})
            for name in ("apply_layernorm_1p", "layernorm_zero_centered_gamma")
        ),
        *(
            ({"model": Model(untied=untied), "pp": 2}, {}, {"tie_word_embeddings": not untied})
            for untied in (True, False)
        ),
        *(
            ({"model": Model(dtype=dtype), "layout": "zarr"}, {}, {"dtype": name})
            for dtype, name in (("F32", "float32"), ("F16", "float16"), ("BF16", "bfloat16"))
        ),
    ],
)
def test_what_is_stated_is_described_and_the_config_wins(
    form: dict[str, Any], given: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    found = describe_architecture(opened(tmp_path, **form), given)
    assert {key: getattr(found, key) for key in expected} == expected
    subjects = ["n_head", "vocab_size", "activation_function", "layer_norm_epsilon", "layernorm_1p"]
    assert [decision.subject for decision in found.decisions] == subjects


@pytest.mark.parametrize(
    ("form", "given", "said"),
    [
        (SILENT, {"n_head": None}, "Set architecture.n_head"),
        *(({}, {"n_head": heads}, "architecture.n_head") for heads in (3, 0, -4, 32)),
        ({"tp": 4}, {"n_head": 2}, "4 ranks"),
        ({}, {"vocab_size": 33}, "architecture.vocab_size: found 33; expected 1"),
        ({"args": {"vocab_size": 40}}, {}, "architecture.vocab_size"),
        ({}, {"n_positions": 16}, "architecture.n_positions"),
        ({}, {"n_embd": 8}, "architecture.n_embd"),
        ({}, {"n_layer": 3}, "architecture.n_layer"),
        ({}, {"n_inner": 32}, "architecture.n_inner"),
        ({}, {"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"model": Model(untied=True)}, {"tie_word_embeddings": True}, "tie_word_embeddings"),
        ({}, {"rope_theta": 1}, "rope_theta"),
        ({"layout": "core"}, {"activation_function": "silu"}, "activation_function"),
        ({"args": {"layernorm_epsilon": "tiny"}}, {}, "layer_norm_epsilon"),
    ],
)
def test_what_nobody_states_or_the_tensors_contradict_is_refused_by_key(
    form: dict[str, Any], given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ArchitectureError, match=re.escape(said)):
        describe_architecture(opened(tmp_path, **form), given)


@pytest.mark.parametrize(("tokens", "rows"), [(32, 36), (29, 36), (30, 34)])
def test_vocabulary_that_leaves_more_than_padding_is_refused(
    tokens: int, rows: int, tmp_path: Path
) -> None:
    model = Model(vocab=tokens, padded=rows)
    said = {"make_vocab_size_divisible_by": 2, "tensor_model_parallel_size": 1}
    checkpoint = opened(tmp_path, model, args={"vocab_size": tokens, **said})
    with pytest.raises(ArchitectureError, match=rf"vocab_size: found {tokens}; .* padding"):
        describe_architecture(checkpoint, {})
    assert describe_architecture(checkpoint, {"vocab_size": tokens}).vocab_size == tokens


@pytest.mark.parametrize(("tokens", "rows"), [(31, 32), (27, 32), (33, 36)])
def test_vocabulary_may_be_padded_for_more_ranks_than_there_are(
    tokens: int, rows: int, tmp_path: Path
) -> None:
    said = {"make_vocab_size_divisible_by": 2, "tensor_model_parallel_size": 1}
    model = Model(vocab=tokens, padded=rows)
    checkpoint = opened(tmp_path, model, args={"vocab_size": tokens, **said})
    assert describe_architecture(checkpoint, {}).vocab_size == tokens


@pytest.mark.parametrize(("tokens", "kept"), [(29, 30), (31, 32), (32, 32)])
def test_null_tokenizer_has_a_token_more_than_it_says(
    tokens: int, kept: int, tmp_path: Path
) -> None:
    said = {"tokenizer_type": "NullTokenizer", "vocab_size": tokens}
    assert describe_architecture(opened(tmp_path, args=said), {}).vocab_size == kept
    assert describe_architecture(opened(tmp_path, args=said), {"vocab_size": 7}).vocab_size == 7


def test_vocabulary_that_nobody_states_keeps_every_row(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, args={"vocab_size": None})
    architecture = describe_architecture(checkpoint, {})
    assert architecture.vocab_size == 32
    assert "padding" in next(d for d in architecture.decisions if d.subject == "vocab_size").reason
