"""Checkpoints that real Megatron wrote, with the logits it computed from them."""

from pathlib import Path

import numpy as np
import pytest

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.open import open_checkpoint
from megaport.parity.activation import ACTIVATIONS
from megaport.parity.parity import examine
from megaport.parity.reference import Precision, Reference
from megaport.parity.references import reference_of
from support.oracles import Oracle, oracle_cases
from support.parity_models import OPTIONS, convert

# The reference is within 2e-5 of Megatron on all of them; a wrong GELU costs 4.8e-4 or more.
CLOSE = 5e-5
GELU_COSTS = 4e-4
ORACLES = [pytest.param(oracle, id=oracle.name) for oracle in oracle_cases()]

pytestmark = pytest.mark.oracle


def read(oracle: Oracle, spool: Path) -> Reference:
    checkpoint = open_checkpoint(oracle.path, version=oracle.version, spool=spool)
    return reference_of(checkpoint, describe_architecture(checkpoint, oracle.architecture))


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("oracle", ORACLES)
def test_the_reference_alone_gives_megatrons_own_logits(
    oracle: Oracle, precision: Precision, tmp_path: Path
) -> None:
    logits = read(oracle, tmp_path).at(precision).logits(oracle.input_ids())
    assert logits.dtype == precision
    np.testing.assert_allclose(logits, oracle.logits(), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("oracle", ORACLES)
def test_the_other_gelu_does_not_give_them(oracle: Oracle, tmp_path: Path) -> None:
    subject = read(oracle, tmp_path)
    erf = ACTIVATIONS[subject.architecture.activation_function] is ACTIVATIONS["gelu"]
    wrong = subject.with_architecture(activation_function="gelu_new" if erf else "gelu")
    difference = wrong.logits(oracle.input_ids()) - oracle.logits()
    assert np.abs(difference).max() > GELU_COSTS


@pytest.mark.parametrize("oracle", ORACLES)
def test_the_converted_oracle_passes_parity(oracle: Oracle, tmp_path: Path) -> None:
    subject = read(oracle, tmp_path)
    out = convert(subject, tmp_path / "model")
    report = examine(subject.checkpoint, subject.architecture, out, OPTIONS)
    assert [verdict.name for verdict in report.failed] == []
    assert report.first is None
