"""Which GELU ran, by the args and the time they were written (formats.md)."""

from typing import Any

import pytest

from megaport.decide import Facts
from megaport.gpt2 import decide_activation

TANH, ERF = "gelu_new", "gelu"
LEGACY: list[tuple[dict[str, Any] | None, str]] = [
    (None, TANH),
    ({"num_layers": 2}, TANH),  # 2020-03-28 to 2020-04-14: args, and no choice of GELU yet
    ({"openai_gelu": True}, TANH),
    ({"openai_gelu": False}, ERF),
    ({"openai_gelu": False, "bias_gelu_fusion": False}, ERF),
    ({"openai_gelu": False, "bias_gelu_fusion": True}, TANH),
    ({"openai_gelu": True, "bias_gelu_fusion": True}, TANH),
]
CORE: list[tuple[dict[str, Any] | None, str]] = [
    (None, TANH),
    ({"bias_gelu_fusion": True}, TANH),
    ({"bias_gelu_fusion": False}, ERF),
    ({"bias_gelu_fusion": False, "openai_gelu": True}, ERF),  # core ignores openai_gelu
    ({"bias_gelu_fusion": False, "use_te_activation_func": True}, TANH),
    ({"bias_gelu_fusion": False, "use_transformer_engine_op_fuser": True}, TANH),
    ({"openai_gelu": False}, TANH),  # not stated: the default since 2021
]


def facts(args: dict[str, Any] | None, *, core: bool) -> Facts:
    return Facts({}, args, {}, (), layers=1, tied=True, shards=1, core=core, dtype="float32")


@pytest.mark.parametrize(("args", "activation"), LEGACY, ids=str)
def test_activation_of_the_legacy_model(args: dict[str, Any] | None, activation: str) -> None:
    assert decide_activation(facts(args, core=False)).value == activation


@pytest.mark.parametrize(("args", "activation"), CORE, ids=str)
def test_activation_of_megatron_core(args: dict[str, Any] | None, activation: str) -> None:
    assert decide_activation(facts(args, core=True)).value == activation


def test_the_decision_says_why_and_how_to_override() -> None:
    decision = decide_activation(facts({"openai_gelu": False}, core=False))
    assert "erf" in decision.reason
    assert decision.override == "architecture.activation_function"
