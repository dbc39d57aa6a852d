"""Every classic conversion mistake, planted: parity must fail, naming the mistake and the place."""

from pathlib import Path

import numpy as np
import pytest

from megaport.parity.reference import Reference
from support.parity_mistakes import (
    Planted,
    assert_caught,
    configured,
    edit_weights,
    edited,
    examined,
    failed,
    head_tied,
    misread,
    named,
    ranks_joined,
    ranks_reversed,
    rows_shifted,
    swap,
    untransposed,
)
from support.subjects import convert, random_gpt2

ORDERS = {"version absent": "3,np,hn", "version 1": "np,hn,3", "version 3": "np,3,hn"}
WRONG_ORDERS = [
    pytest.param(right, wrong, ranks, id=f"{name} read as {wrong.replace(',', '-')}, TP {ranks}")
    for name, right in ORDERS.items()
    for wrong in ORDERS.values()
    for ranks in (1, 2)
    if wrong != right
]
WTE, WPE = "transformer.wte.weight", "transformer.wpe.weight"
QKV_AND_MLP = ("query_key_value", "attention.dense.w", "dense_h_to_4h", "dense_4h_to_h.w")


def negated(weights: dict) -> None:
    weights["transformer.h.1.mlp.c_fc.bias"][0] *= -1


MISTAKES = {
    "tanh GELU for erf": Planted("config", configured(activation_function="gelu"), "layer 0"),
    "epsilon 1e-6": Planted("config", configured(layer_norm_epsilon=1e-6), "layer 0", "1e-06"),
    "other heads": Planted("config", configured(n_head=2), "layer 0", "n_head is 2, not 4"),
    "square weight not transposed": Planted(
        "transpose", untransposed("attn.c_proj.weight"), "layer 0", "h.0.attn.c_proj"
    ),
    "QKV weight not transposed": Planted(
        "transpose", untransposed("attn.c_attn.weight"), "layer 0", "h.0.attn.c_attn"
    ),
    "norms of a layer swapped": Planted(
        "tensors swapped", swap("ln_1", "ln_2"), "layer 0", "h.0.ln_1.weight, it is"
    ),
    "one layer swapped": Planted(
        "layers swapped", swap("h.1.", "h.2."), "layer 1", "it is transformer.h.2."
    ),
    "vocabulary off by one, rows down": Planted(
        "vocabulary off by one", rows_shifted(WTE, 1), "embedding"
    ),
    "vocabulary off by one, rows up": Planted(
        "vocabulary off by one", rows_shifted(WTE, -1), "embedding"
    ),
    "positions off by one": Planted("rows off by one", rows_shifted(WPE, -1), "embedding", WPE),
}
OF_TWO_RANKS = {
    "TP ranks swapped everywhere": Planted(
        "TP ranks swapped", ranks_reversed("embeddings", *QKV_AND_MLP), "embedding", WTE
    ),
    "TP ranks swapped in QKV": Planted(
        "TP ranks swapped", ranks_reversed("query_key_value"), "layer 0", "c_attn"
    ),
    "TP ranks swapped in the MLP": Planted(
        "TP ranks swapped", ranks_reversed("dense_4h_to_h.w"), "layer 0", "mlp.c_proj"
    ),
    "ranks joined before QKV is undone": Planted(
        "ranks joined first", ranks_joined, "layer 0", "c_attn"
    ),
}


@pytest.mark.parametrize(("right", "wrong", "ranks"), WRONG_ORDERS)
def test_a_wrong_qkv_order_is_caught_for_each_version(
    right: str, wrong: str, ranks: int, tmp_path: Path
) -> None:
    planted = Planted("QKV order", misread(qkv_order=wrong), "layer 0", f"[{wrong}]")
    assert_caught(random_gpt2(order=right, ranks=ranks), planted, tmp_path)


@pytest.mark.parametrize("planted", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_caught_and_named(planted: Planted, tmp_path: Path) -> None:
    assert_caught(random_gpt2(), planted, tmp_path)


@pytest.mark.parametrize("planted", OF_TWO_RANKS.values(), ids=OF_TWO_RANKS)
def test_a_mistake_with_ranks_is_caught_and_named(planted: Planted, tmp_path: Path) -> None:
    assert_caught(random_gpt2(ranks=2), planted, tmp_path)


def test_an_untied_head_that_was_tied_is_caught(tmp_path: Path) -> None:
    planted = Planted("config", head_tied, "head", "tie_word_embeddings")
    report = assert_caught(random_gpt2(untied=True), planted, tmp_path)
    assert "lm_head.weight: missing" in named(report, "tensors").note


def test_a_forgotten_layernorm_1p_is_caught(tmp_path: Path) -> None:
    def plant(subject: Reference, out: Path) -> None:
        convert(subject.with_architecture(layernorm_1p=False), out)

    wanted = random_gpt2().with_architecture(layernorm_1p=True)
    assert_caught(wanted, Planted("layernorm_1p", plant, "layer 0", "1 not added"), tmp_path)


@pytest.mark.parametrize("more", [1, -1])
def test_a_vocabulary_one_row_off_is_caught_by_its_size(more: int, tmp_path: Path) -> None:
    subject = random_gpt2()
    size = subject.architecture.vocab_size + more
    convert(subject.with_architecture(vocab_size=size), tmp_path)
    report = examined(subject, tmp_path)
    assert {"config", "tensors"} <= failed(report)
    assert report.cause is not None and report.cause.name == "vocabulary off by one"
    assert f"{more:+d} row" in report.diagnosis


def test_two_mistakes_at_once_are_both_named(tmp_path: Path) -> None:
    subject = random_gpt2()
    swap("h.0.", "h.2.")(subject, tmp_path)
    edit_weights(tmp_path, lambda weights: weights.update({WPE: np.roll(weights[WPE], -1, axis=0)}))
    report = examined(subject, tmp_path)
    assert report.first == "embedding"
    note = named(report, "tensors").note
    assert "row i holds row i+1" in note and "it is transformer.h.2." in note
    assert [block.name for block in report.blocks if not block.agrees] == [
        "embedding",
        "layer 0",
        "layer 2",
    ]


def test_a_single_flipped_sign_is_located_where_no_classic_mistake_explains_it(
    tmp_path: Path,
) -> None:
    subject = random_gpt2()
    edited(negated)(subject, tmp_path)
    report = examined(subject, tmp_path)
    assert {"tensors", "logits"} <= failed(report)
    assert named(report, "tensors").note == "transformer.h.1.mlp.c_fc.bias: 1 of 128 elements"
    assert (report.first, report.cause) == ("layer 1", None)
    assert "first differs at layer 1" in report.diagnosis


def test_a_tensor_of_zeros_is_not_called_swapped(tmp_path: Path) -> None:
    plant = edited(lambda weights: weights["transformer.h.1.mlp.c_fc.bias"].fill(0))
    assert_caught(random_gpt2(), Planted("constant", plant, "layer 1"), tmp_path)
