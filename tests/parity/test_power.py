"""Every classic conversion mistake, planted: parity must fail, naming the mistake and the place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from megaport.parity.parity import examine
from megaport.parity.report import ParityReport
from megaport.parity.subject import Subject
from support.parity_mistakes import (
    Plant,
    Planted,
    configured,
    edit_weights,
    edited,
    head_tied,
    misread,
    ranks_joined,
    ranks_reversed,
    rows_shifted,
    swap,
    untransposed,
    vocabulary_of,
)
from support.parity_models import OPTIONS, convert, random_subject

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
    "tanh GELU for erf": Planted(
        "activation", configured(activation_function="gelu"), "layer 0", "erf GELU"
    ),
    "epsilon 1e-6": Planted(
        "epsilon", configured(layer_norm_epsilon=1e-6), "layer 0", "epsilon is 1e-06"
    ),
    "square weight not transposed": Planted(
        "transpose", untransposed("attn.c_proj.weight"), "layer 0", "attention.dense"
    ),
    "QKV weight not transposed": Planted(
        "transpose", untransposed("attn.c_attn.weight"), "layer 0", "query_key_value"
    ),
    "first MLP weight not transposed": Planted(
        "transpose", untransposed("c_fc.weight"), "layer 0", "dense_h_to_4h"
    ),
    "second MLP weight not transposed": Planted(
        "transpose", untransposed("mlp.c_proj.weight"), "layer 0", "dense_4h_to_h"
    ),
    "norms of a layer swapped": Planted("norms swapped", swap("ln_1", "ln_2"), "layer 0"),
    "one layer swapped": Planted(
        "layers swapped", swap("h.1.", "h.2."), "layer 1", "layer 1 has the weights of layer 2"
    ),
    "vocabulary off by one, rows down": Planted(
        "vocabulary off by one", rows_shifted(WTE, 1), "embedding"
    ),
    "vocabulary off by one, rows up": Planted(
        "vocabulary off by one", rows_shifted(WTE, -1), "embedding"
    ),
    "positions off by one": Planted("positions off by one", rows_shifted(WPE, -1), "embedding"),
}
OF_TWO_RANKS = {
    "TP ranks swapped everywhere": Planted(
        "TP ranks swapped", ranks_reversed("embeddings", *QKV_AND_MLP), "embedding"
    ),
    "TP ranks swapped in QKV": Planted(
        "TP ranks swapped", ranks_reversed("query_key_value"), "layer 0", "query_key_value"
    ),
    "TP ranks swapped in the MLP": Planted(
        "TP ranks swapped", ranks_reversed("dense_4h_to_h.w"), "layer 0", "dense_4h_to_h"
    ),
    "ranks joined before QKV is undone": Planted("QKV order", ranks_joined, "layer 0", "joined"),
}


@pytest.mark.parametrize(("right", "wrong", "ranks"), WRONG_ORDERS)
def test_a_wrong_qkv_order_is_caught_for_each_version(
    right: str, wrong: str, ranks: int, tmp_path: Path
) -> None:
    planted = Planted("QKV order", misread(qkv_order=wrong), "layer 0", f"[{wrong}]")
    assert_caught(random_subject(order=right, ranks=ranks), planted, tmp_path)


@pytest.mark.parametrize("planted", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_caught_and_named(planted: Planted, tmp_path: Path) -> None:
    assert_caught(random_subject(), planted, tmp_path)


@pytest.mark.parametrize("planted", OF_TWO_RANKS.values(), ids=OF_TWO_RANKS)
def test_a_mistake_with_ranks_is_caught_and_named(planted: Planted, tmp_path: Path) -> None:
    assert_caught(random_subject(ranks=2), planted, tmp_path)


def test_the_erf_gelu_taken_for_the_tanh_is_caught(tmp_path: Path) -> None:
    planted = Planted("activation", configured(activation_function="gelu_new"), "layer 0", "tanh")
    assert_caught(random_subject(activation="gelu"), planted, tmp_path)


def test_an_untied_head_that_was_tied_is_caught(tmp_path: Path) -> None:
    report = assert_caught(
        random_subject(untied=True), Planted("untied head tied", head_tied, "head"), tmp_path
    )
    assert "tensors" in failed(report)


def test_a_forgotten_layernorm_1p_is_caught(tmp_path: Path) -> None:
    subject = random_subject()
    wanted = replace(subject, architecture=replace(subject.architecture, layernorm_1p=True))
    report = examined(wanted, lambda _, out: convert(subject, out), tmp_path)
    assert report.diagnosis is not None
    assert [finding.cause for finding in report.diagnosis.findings] == ["layernorm_1p"]
    assert report.diagnosis.unexplained == ()


@pytest.mark.parametrize("more", [1, -1])
def test_a_vocabulary_one_row_off_is_caught_by_its_size(more: int, tmp_path: Path) -> None:
    report = examined(random_subject(), vocabulary_of(more), tmp_path)
    assert {"config", "tensors"} <= failed(report)
    assert "vocabulary off by one" in report.cause


def test_a_layer_swapped_for_another_says_so_once_for_both(tmp_path: Path) -> None:
    report = examined(random_subject(), swap("h.0.", "h.2."), tmp_path)
    assert report.diagnosis is not None
    (finding,) = report.diagnosis.findings
    assert finding.stages == ("layer 0", "layer 2")


def test_two_mistakes_at_once_are_both_named(tmp_path: Path) -> None:
    def plant(subject: Subject, out: Path) -> None:
        swap("h.0.", "h.2.")(subject, out)
        edit_weights(out, lambda weights: weights.update({WPE: np.roll(weights[WPE], -1, axis=0)}))

    report = examined(random_subject(), plant, tmp_path)
    assert report.diagnosis is not None
    causes = [finding.cause for finding in report.diagnosis.findings]
    assert causes == ["positions off by one", "layers swapped"]


def test_a_single_flipped_sign_is_caught_where_no_classic_mistake_explains_it(
    tmp_path: Path,
) -> None:
    report = examined(random_subject(), edited(negated), tmp_path)
    assert {"tensors", "logits"} <= failed(report)
    assert "layers.1.mlp.dense_h_to_4h.bias: 1 of 128 elements" in result(report, "tensors").note
    assert report.diagnosis is not None
    assert report.diagnosis.first == "layer 1"
    assert report.diagnosis.unexplained == ("layer 1",)


def assert_caught(subject: Subject, planted: Planted, tmp_path: Path) -> ParityReport:
    report = examined(subject, planted.plant, tmp_path)
    assert "logits" in failed(report), "the wrong model's logits were let through"
    assert report.diagnosis is not None
    assert report.diagnosis.first == planted.first
    finding = report.diagnosis.findings[0]
    assert (finding.cause, planted.says in finding.sentence) == (planted.cause, True)
    assert planted.cause in report.cause
    return report


def examined(subject: Subject, plant: Plant, out: Path) -> ParityReport:
    plant(subject, out)
    return examine(subject.checkpoint, subject.architecture, out, OPTIONS)


def failed(report: ParityReport) -> set[str]:
    return {result.name for result in report.failed}


def result(report: ParityReport, name: str):
    return next(result for result in report.results if result.name == name)
