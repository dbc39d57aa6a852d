"""Checkpoints that real Megatron wrote, with the logits it computed from them."""

from pathlib import Path

import numpy as np
import pytest

from megaport.parity.arithmetic import ACTIVATIONS
from megaport.parity.reference import Precision
from support.oracles import Oracle, oracle_cases
from support.parity_mistakes import examined
from support.subjects import convert, read_oracle

# The reference is within 2e-5 of Megatron on all of them; a wrong GELU costs 4.8e-4 or more.
CLOSE = 5e-5
GELU_COSTS = 4e-4
ORACLES = [pytest.param(oracle, id=oracle.name) for oracle in oracle_cases()]

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("oracle", ORACLES)
def test_the_reference_alone_gives_megatrons_own_logits(
    oracle: Oracle, precision: Precision, tmp_path: Path
) -> None:
    logits = read_oracle(oracle, tmp_path).at(precision).logits(oracle.input_ids())
    assert logits.dtype == precision
    np.testing.assert_allclose(logits, oracle.logits(), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("oracle", ORACLES)
def test_the_other_gelu_does_not_give_them(oracle: Oracle, tmp_path: Path) -> None:
    subject = read_oracle(oracle, tmp_path)
    erf = ACTIVATIONS[subject.architecture.activation_function] is ACTIVATIONS["gelu"]
    wrong = subject.with_architecture(activation_function="gelu_new" if erf else "gelu")
    difference = wrong.logits(oracle.input_ids()) - oracle.logits()
    assert np.abs(difference).max() > GELU_COSTS


@pytest.mark.parametrize("oracle", ORACLES)
def test_the_converted_oracle_passes_parity(oracle: Oracle, tmp_path: Path) -> None:
    subject = read_oracle(oracle, tmp_path)
    report = examined(subject, convert(subject, tmp_path / "model"))
    assert [verdict.name for verdict in report.failed] == []
    assert report.first is None
