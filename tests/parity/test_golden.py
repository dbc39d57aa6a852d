"""Published logits: which activation they settle, when they are too coarse, how they are read."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from megaport.parity.golden import Golden, GoldenError, check_golden, read_golden
from megaport.parity.reference import Reference
from support.subjects import RESOURCES, random_gpt2


def golden_of(subject: Reference, error: float = 0.0) -> Golden:
    """Logits as a publisher's FP16 run would give them, at scattered places."""
    ids = (1, 5, 9, 33, 2, 8)
    rows, columns = tuple(range(6)), (0, 20, 40, 60, 80, 100)
    logits = subject.at("float64").logits(np.array([ids]))[0, list(rows), list(columns)]
    return Golden("a test", ids, rows, columns, tuple(logits + error), tolerance=2e-4)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_published_logits_settle_the_activation(activation: str) -> None:
    subject = random_gpt2(activation=activation)
    other = {"gelu": "gelu_new", "gelu_new": "gelu"}[activation]
    golden = golden_of(subject)
    assert check_golden(subject, golden).outcome == "passed"
    verdict = check_golden(subject.with_architecture(activation_function=other), golden)
    assert verdict.outcome == "failed"
    assert verdict.measures[1].seen == activation


def test_published_logits_too_coarse_to_settle_the_activation_say_so() -> None:
    subject = random_gpt2()
    golden = golden_of(subject)
    coarse = replace(
        golden, logits=tuple(round(value, 1) for value in golden.logits), tolerance=0.1
    )
    verdict = check_golden(subject, coarse)
    assert verdict.outcome == "passed"
    assert verdict.note.startswith("undecided")


def test_the_345ms_published_logits_are_where_the_source_says() -> None:
    """Row 8i//17 and column 2792i for i in 0..18 (transformers' MegatronGPT2 test)."""
    golden = read_golden(RESOURCES / "golden" / "megatron-gpt2-345m.json")
    assert golden.rows == tuple(8 * i // 17 for i in range(19))
    assert golden.columns == tuple(2792 * i for i in range(19))
    assert len(golden.input_ids) == 9 and golden.logits[-1] == 4.3867


def test_published_logits_that_no_activation_gives_fail() -> None:
    subject = random_gpt2()
    verdict = check_golden(subject, golden_of(subject, error=0.5))
    assert verdict.outcome == "failed" and not verdict.measures[0].holds


def test_published_logits_are_read_from_json(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    fields = golden_of(random_gpt2()).__dict__
    path.write_text(json.dumps(fields))
    assert read_golden(path) == golden_of(random_gpt2())
    for broken in ({**fields, "rows": [0]}, {**fields, "rows": [99] * 6}, {"source": "x"}, []):
        path.write_text(json.dumps(broken))
        with pytest.raises(GoldenError, match="published logits"):
            read_golden(path)
