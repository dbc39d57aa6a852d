"""Each check on its own: what it lets through, what it catches, what it says it cannot do."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from megaport.parity.checks.precision import check_precision
from megaport.parity.checks.tensors import check_tensors
from megaport.parity.comparison import compare_logits
from megaport.parity.converted import ModelUnreadableError, load_converted
from megaport.parity.inputs import make_inputs
from megaport.parity.parity import examine
from megaport.parity.report import ParityReport
from megaport.parity.subject import Subject
from support.parity_mistakes import edit_config, edit_weights
from support.parity_models import (
    OPTIONS,
    TEXT,
    Size,
    convert,
    random_subject,
    with_tokenizer,
)

READS_TEXT = Size(layers=2, hidden=8, vocab=50257, padded=50304, positions=64)


def examined(subject: Subject, out: Path, **options: object) -> ParityReport:
    return examine(subject.checkpoint, subject.architecture, out, replace(OPTIONS, **options))


def verdicts(report: ParityReport) -> dict[str, str]:
    return {result.name: result.verdict for result in report.results}


def note(report: ParityReport, name: str) -> str:
    return next(result.note for result in report.results if result.name == name)


def test_a_model_without_a_tokenizer_says_which_checks_do_not_apply(tmp_path: Path) -> None:
    subject = random_subject()
    report = examined(subject, convert(subject, tmp_path), dtypes=("bfloat16", "float16"))
    assert report.verdict == "passed" and report.diagnosis is None
    found = verdicts(report)
    left_out = {name for name, verdict in found.items() if verdict == "not applicable"}
    assert left_out == {"tokenizer", "reading", "published logits", "perplexity"}
    assert {"precision bfloat16", "precision float16", "left padding", "kv cache"} <= set(found)
    why = next(result.reason for result in report.results if result.name == "tokenizer")
    assert "seeded token ids" in why


def test_a_model_that_reads_text_is_given_the_bundled_text(tmp_path: Path) -> None:
    subject = random_subject(size=READS_TEXT, dtype="F16")
    text = tmp_path / "text.txt"
    text.write_text(TEXT.read_text(encoding="utf-8")[:1500], encoding="utf-8")
    report = examined(subject, with_tokenizer(convert(subject, tmp_path)), text=text)
    assert report.verdict == "passed"
    assert verdicts(report)["perplexity"] == verdicts(report)["tokenizer"] == "passed"
    assert note(report, "perplexity") == "320 tokens of the text"


def test_the_full_context_is_always_among_the_inputs() -> None:
    architecture = random_subject().architecture
    inputs = make_inputs(architecture, None, seed=3)
    assert inputs.random.shape == (1, architecture.n_positions)
    assert inputs.random.max() < architecture.vocab_size
    np.testing.assert_array_equal(inputs.random, make_inputs(architecture, None, 3).random)
    assert (inputs.random != make_inputs(architecture, None, seed=4).random).any()


@pytest.mark.parametrize(("length", "shape"), [(9, (1, 9)), (24, (1, 24)), (60, (2, 24))])
def test_text_is_cut_into_windows_of_full_context(length: int, shape: tuple[int, int]) -> None:
    inputs = make_inputs(random_subject().architecture, list(range(length)), seed=0)
    assert inputs.text is not None and inputs.text.shape == shape


@pytest.mark.parametrize("asked", ["float16", "bfloat16", "float32", None])
@pytest.mark.parametrize("one_p", [False, True])
def test_an_asked_for_dtype_is_rounded_once_and_passes(
    asked: str | None, one_p: bool, tmp_path: Path
) -> None:
    subject = random_subject(ranks=2)
    subject = subject.with_architecture(layernorm_1p=one_p)
    model = convert(subject, tmp_path, dtype=asked)
    stored = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", None: None}[asked]
    assert verdicts(examined(subject, model, stored=stored))["tensors"] == "passed"
    assert examined(subject, model, stored=stored).verdict == "passed"


def test_a_dtype_nobody_asked_for_fails(tmp_path: Path) -> None:
    subject = random_subject()
    result = check_tensors(subject, convert(subject, tmp_path, dtype="float16"))
    assert result.verdict == "failed"
    assert "stored as F16, expected F32" in result.note


def test_one_flipped_bit_is_counted_and_named(tmp_path: Path) -> None:
    subject = random_subject(order="np,hn,3", ranks=4)
    model = convert(subject, tmp_path)

    def flip(weights: dict) -> None:
        weights["transformer.h.2.attn.c_attn.weight"].view("u4")[3, 5] ^= 1

    edit_weights(model, flip)
    result = check_tensors(subject, model)
    assert result.verdict == "failed"
    assert result.note == "layers.2.attention.query_key_value.weight: 1 of 3072 elements"


def test_a_flipped_sign_of_zero_counts(tmp_path: Path) -> None:
    subject = random_subject()
    name = "layers.0.mlp.dense_h_to_4h.bias"
    zeros = replace(subject.checkpoint.tensors[name][0], array=np.zeros(128, "f4"))
    subject = subject.with_tensors({name: (zeros,)})
    model = convert(subject, tmp_path)
    edit_weights(
        model,
        lambda w: np.negative(
            w["transformer.h.0.mlp.c_fc.bias"], out=w["transformer.h.0.mlp.c_fc.bias"]
        ),
    )
    assert check_tensors(subject, model).note == f"{name}: 128 of 128 elements"


def test_missing_and_left_over_tensors_are_named(tmp_path: Path) -> None:
    subject = random_subject()
    model = convert(subject, tmp_path)

    def change(weights: dict) -> None:
        del weights["transformer.ln_f.bias"]
        weights["transformer.h.0.attn.bias"] = np.ones((1, 1, 24, 24), np.float32)

    edit_weights(model, change)
    result = check_tensors(subject, model)
    assert "transformer.ln_f.bias: missing" in result.note
    assert "transformer.h.0.attn.bias: left over" in result.note


def test_a_tensor_transformers_would_make_up_fails_the_load(tmp_path: Path) -> None:
    subject = random_subject()
    model = convert(subject, tmp_path)
    edit_weights(model, lambda weights: weights.pop("transformer.ln_f.bias"))
    report = examined(subject, model)
    assert verdicts(report)["load"] == "failed"
    assert "transformer.ln_f.bias" in note(report, "load")
    assert report.layers == () and report.diagnosis is None


def test_a_shape_that_cannot_be_cut_is_named(tmp_path: Path) -> None:
    subject = random_subject(ranks=2)
    model = convert(subject, tmp_path)
    edit_weights(model, lambda w: w.update({"transformer.h.0.attn.c_attn.bias": np.ones(95, "f4")}))
    assert "shape [95] cannot hold it" in check_tensors(subject, model).note


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_head", 2), ("scale_attn_by_inverse_layer_idx", True), ("scale_attn_weights", False)],
)
def test_config_fields_that_change_the_mathematics_are_compared(
    field: str, value: object, tmp_path: Path
) -> None:
    subject = random_subject()
    model = convert(subject, tmp_path)
    edit_config(model, **{field: value})
    found = verdicts(examined(subject, model))
    assert found["config"] == found["logits"] == "failed"


def test_another_name_of_the_same_gelu_is_no_difference(tmp_path: Path) -> None:
    subject = random_subject()
    model = convert(subject, tmp_path)
    edit_config(model, activation_function="gelu_pytorch_tanh")
    assert examined(subject, model).verdict == "passed"


def test_no_directory_or_no_weights_is_a_clear_error(tmp_path: Path) -> None:
    subject = random_subject()
    with pytest.raises(ModelUnreadableError, match=r"config\.json"):
        examined(subject, tmp_path / "nowhere")
    model = convert(subject, tmp_path / "model")
    (model / "model.safetensors").unlink()
    with pytest.raises(ModelUnreadableError, match=r"model\.safetensors"):
        examined(subject, model)


def test_not_a_number_fails_every_numeric_check(tmp_path: Path) -> None:
    subject = random_subject()
    model = convert(subject, tmp_path)
    edit_weights(model, lambda weights: weights["transformer.ln_f.bias"].fill(np.nan))
    report = examined(subject, model, dtypes=("bfloat16",))
    found = verdicts(report)
    numeric = ("logits", "kv cache", "left padding", "greedy continuation", "precision bfloat16")
    assert {found[name] for name in numeric} == {"failed"}
    assert report.diagnosis is not None and report.diagnosis.first == "final norm"
    json.dumps(report.plain(), allow_nan=False)


def test_a_disagreement_within_the_limit_is_a_tie_and_beyond_it_is_not() -> None:
    reference = np.array([[1.0, 0.9999, 0.0]], np.float32)
    converted = np.array([[0.9999, 1.0, 0.0]], np.float32)
    ids = np.array([0])
    near = compare_logits(reference, converted, ids, limit=1e-4)
    far = compare_logits(reference, converted, ids, limit=1e-5)
    assert (near.ties, near.disagreements) == (1, 0)
    assert (far.ties, far.disagreements) == (0, 1)


def test_kl_and_likelihood_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    reference, converted = rng.normal(size=(2, 130, 7)).astype(np.float32)
    ids = rng.integers(7, size=130)
    seen = compare_logits(reference, converted, ids, limit=1e-4)
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (reference, converted))
    assert seen.kl_max == pytest.approx((p * np.log(p / q)).sum(-1).max(), rel=1e-5)
    rows = np.arange(129)
    expected = [-np.log(side[rows, ids[1:]]).mean() for side in (p, q)]
    assert seen.nll == pytest.approx(expected, rel=1e-5)


def test_half_precision_that_loses_more_than_rounding_fails() -> None:
    rng = np.random.default_rng(0)
    full = rng.normal(size=(1, 32, 500)).astype(np.float32)
    near = full * (1 + rng.normal(size=full.shape).astype(np.float32) * 2**-11)
    far = full * (1 + rng.normal(size=full.shape).astype(np.float32) * 2**-5)
    assert check_precision("float16", "cpu", full, near, layers=4).verdict == "passed"
    assert check_precision("float16", "cpu", full, far, layers=4).verdict == "failed"


def test_left_padding_is_compared_where_it_matters(tmp_path: Path) -> None:
    subject = random_subject()
    converted = load_converted(convert(subject, tmp_path), dtype="float32", device="cpu")
    ids = np.arange(20)
    together = converted.padded_logits([ids[:3], ids])
    assert np.abs(together[0] - converted.logits(ids[None, :3])[0, -1]).max() < 1e-5
