"""The GPT-2 a checkpoint is: what args, tensors and config say, and who wins."""

from pathlib import Path
from typing import Any

import pytest

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.model import Checkpoint
from megaport.checkpoint.open import open_checkpoint
from megaport.decide import ArchitectureError
from support.megatron_files import write_checkpoint
from support.megatron_model import Model


def opened(tmp_path: Path, model: Model | None = None, **form: Any) -> Checkpoint:
    path = write_checkpoint(tmp_path / "c", model or Model(), **form)
    return open_checkpoint(path, spool=tmp_path)


def test_args_are_enough(tmp_path: Path) -> None:
    architecture = describe_architecture(opened(tmp_path, layout="core", tp=2), {})
    assert architecture.n_head == 4
    assert architecture.n_layer == 2
    assert (architecture.n_embd, architecture.n_inner) == (16, 64)
    assert (architecture.vocab_size, architecture.padded_vocab_size) == (30, 32)
    assert architecture.n_positions == 8
    assert architecture.tie_word_embeddings
    assert not architecture.layernorm_1p
    assert architecture.layer_norm_epsilon == 1e-5
    assert {decision.subject for decision in architecture.decisions} == {
        "n_head",
        "vocab_size",
        "activation_function",
        "layer_norm_epsilon",
        "layernorm_1p",
    }


def test_heads_unknown_and_not_given_says_the_key_to_set(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, layout="transformer", with_args=False)
    with pytest.raises(ArchitectureError, match=r"Set architecture\.n_head"):
        describe_architecture(checkpoint, {"n_head": None})
    assert describe_architecture(checkpoint, {"n_head": 2}).n_head == 2


@pytest.mark.parametrize("heads", [3, 0, -4, 32])
def test_heads_that_do_not_divide_are_refused(heads: int, tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match=r"architecture\.n_head"):
        describe_architecture(opened(tmp_path, layout="core"), {"n_head": heads})


def test_heads_must_divide_among_the_ranks(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, layout="core", tp=4)
    with pytest.raises(ArchitectureError, match="4 ranks"):
        describe_architecture(checkpoint, {"n_head": 2})


def test_padded_vocabulary_equal_to_the_vocabulary(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, Model(vocab=32), layout="encoder")
    assert describe_architecture(checkpoint, {}).vocab_size == 32
    assert describe_architecture(checkpoint, {"vocab_size": 32}).vocab_size == 32


def test_vocabulary_one_row_over_is_refused(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, layout="encoder")
    with pytest.raises(ArchitectureError, match=r"architecture\.vocab_size: found 33; expected 1"):
        describe_architecture(checkpoint, {"vocab_size": 33})


def test_vocabulary_smaller_keeps_exactly_those_rows(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, layout="encoder")
    assert describe_architecture(checkpoint, {"vocab_size": 5}).vocab_size == 5


def test_vocabulary_that_the_args_overstate_is_refused(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, layout="encoder", args={"vocab_size": 40})
    with pytest.raises(ArchitectureError, match=r"architecture\.vocab_size"):
        describe_architecture(checkpoint, {})
    assert describe_architecture(checkpoint, {"vocab_size": 30}).vocab_size == 30


def test_vocabulary_that_leaves_more_than_padding_is_refused(tmp_path: Path) -> None:
    said = {"make_vocab_size_divisible_by": 2, "tensor_model_parallel_size": 1}
    checkpoint = opened(tmp_path, layout="encoder", args={"vocab_size": 29, **said})
    with pytest.raises(ArchitectureError, match=r"architecture\.vocab_size: found 29; .* padding"):
        describe_architecture(checkpoint, {})
    assert describe_architecture(checkpoint, {"vocab_size": 29}).vocab_size == 29


def test_vocabulary_that_nobody_states_keeps_every_row(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, layout="encoder", args={"vocab_size": None})
    architecture = describe_architecture(checkpoint, {})
    assert architecture.vocab_size == 32
    assert "padding" in next(d for d in architecture.decisions if d.subject == "vocab_size").reason


@pytest.mark.parametrize(
    ("key", "value"),
    [("n_positions", 16), ("n_embd", 8), ("n_layer", 3), ("n_inner", 32)],
)
def test_a_key_that_contradicts_the_tensors_is_refused_by_name(
    key: str, value: int, tmp_path: Path
) -> None:
    checkpoint = opened(tmp_path, layout="encoder")
    with pytest.raises(ArchitectureError, match=rf"architecture\.{key}"):
        describe_architecture(checkpoint, {key: value})


@pytest.mark.parametrize("untied", [True, False])
def test_tying_is_read_from_the_tensors(untied: bool, tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, Model(untied=untied), layout="encoder", pp=2)
    assert describe_architecture(checkpoint, {}).tie_word_embeddings is not untied
    with pytest.raises(ArchitectureError, match="tie_word_embeddings"):
        describe_architecture(checkpoint, {"tie_word_embeddings": untied})


def test_a_key_that_gpt2_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match="rope_theta"):
        describe_architecture(opened(tmp_path, layout="encoder"), {"rope_theta": 1})


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_fast", "relu"])
def test_the_config_wins_over_the_activation(activation: str, tmp_path: Path) -> None:
    architecture = describe_architecture(
        opened(tmp_path, layout="encoder"), {"activation_function": activation}
    )
    assert architecture.activation_function == activation


def test_an_unknown_activation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match="activation_function"):
        describe_architecture(opened(tmp_path, layout="core"), {"activation_function": "silu"})


@pytest.mark.parametrize("argument", ["norm_epsilon", "layernorm_epsilon"])
def test_epsilon_comes_from_either_argument(argument: str, tmp_path: Path) -> None:
    args = {"layernorm_epsilon": None, argument: 1e-6}
    checkpoint = opened(tmp_path, layout="encoder", args=args)
    assert describe_architecture(checkpoint, {}).layer_norm_epsilon == 1e-6
    assert describe_architecture(checkpoint, {"layer_norm_epsilon": 1e-4}).layer_norm_epsilon == (
        1e-4
    )


def test_an_impossible_epsilon_is_refused(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, layout="encoder", args={"layernorm_epsilon": "tiny"})
    with pytest.raises(ArchitectureError, match="layer_norm_epsilon"):
        describe_architecture(checkpoint, {})


@pytest.mark.parametrize("argument", ["apply_layernorm_1p", "layernorm_zero_centered_gamma"])
def test_zero_centred_norms_are_known_from_either_argument(argument: str, tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, layout="core", args={argument: True})
    assert describe_architecture(checkpoint, {}).layernorm_1p


@pytest.mark.parametrize(
    ("dtype", "name"), [("F32", "float32"), ("F16", "float16"), ("BF16", "bfloat16")]
)
def test_dtype_is_named_as_transformers_names_it(dtype: str, name: str, tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, Model(dtype=dtype), layout="zarr")
    assert describe_architecture(checkpoint, {}).dtype == name
