"""Each check on its own: what it lets through, what it catches, what it says it cannot do."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from megaport.parity.checks import check_precision
from megaport.parity.comparison import compare_logits
from megaport.parity.converted import ModelUnreadableError
from megaport.parity.files import check_tensors, find_differences
from megaport.parity.inputs import make_inputs
from megaport.parity.reference import Reference
from megaport.parity.report import ParityReport
from megaport.parity.verdict import Verdict
from support.parity_mistakes import edit_config, edit_weights, examined, named
from support.subjects import (
    PUBLISHED_IDS,
    TEXT,
    VERSIONS,
    assembled,
    convert,
    random_gpt2,
    read_bundled,
    with_tokenizer,
)

READS_TEXT = {"layers": 2, "hidden": 8, "vocab": 50257, "padded": 50304, "positions": 64}


@pytest.fixture
def subject() -> Reference:
    return random_gpt2()


@pytest.fixture
def model(subject: Reference, tmp_path: Path) -> Path:
    return convert(subject, tmp_path / "model")


def outcomes(report: ParityReport) -> dict[str, str]:
    return {verdict.name: verdict.outcome for verdict in report.verdicts}


def start_of_text(folder: Path, characters: int) -> Path:
    path = folder / "text.txt"
    path.write_text(TEXT.read_text(encoding="utf-8")[:characters], encoding="utf-8")
    return path


def tensors(subject: Reference, model: Path) -> Verdict:
    return check_tensors(find_differences(subject, model))


def test_a_model_without_a_tokenizer_says_which_checks_do_not_apply(
    subject: Reference, model: Path
) -> None:
    report = examined(subject, model, dtypes=("bfloat16", "float16"))
    assert report.outcome == "passed" and report.cause is None and report.first is None
    found = outcomes(report)
    left_out = {name for name, outcome in found.items() if outcome == "not applicable"}
    assert left_out == {"tokenizer", "reading", "published logits", "perplexity"}
    assert {"precision bfloat16", "precision float16", "left padding", "kv cache"} <= set(found)
    assert "seeded token ids" in named(report, "tokenizer").reason


def test_a_model_that_reads_text_is_given_the_bundled_text(tmp_path: Path) -> None:
    subject = random_gpt2(**READS_TEXT, dtype="F16")
    model = with_tokenizer(convert(subject, tmp_path / "model"))
    text = start_of_text(tmp_path, 1500)
    report = examined(subject, model, text=text, published=PUBLISHED_IDS)
    assert report.outcome == "passed"
    assert outcomes(report)["perplexity"] == outcomes(report)["tokenizer"] == "passed"
    assert named(report, "perplexity").note == "320 tokens of the text"
    assert named(report, "reading").outcome == "not applicable"
    assert "no likelier than chance" in named(report, "reading").reason


def test_the_bundled_model_passes_every_check_that_applies(tmp_path: Path) -> None:
    subject, text = read_bundled(tmp_path), start_of_text(tmp_path, 2400)
    report = examined(subject, assembled(subject, tmp_path), text=text, dtypes=("bfloat16",))
    found = outcomes(report)
    assert found.pop("published logits") == "not applicable"
    assert set(found.values()) == {"passed"} and len(found) == 10
    assert 30 < named(report, "perplexity").measures[0].seen < 120


def test_the_full_context_is_always_among_the_inputs(subject: Reference) -> None:
    architecture = subject.architecture
    inputs = make_inputs(architecture, None, seed=3)
    assert inputs.random.shape == (1, architecture.n_positions)
    assert inputs.random.max() < architecture.vocab_size
    np.testing.assert_array_equal(inputs.random, make_inputs(architecture, None, 3).random)
    assert (inputs.random != make_inputs(architecture, None, seed=4).random).any()


@pytest.mark.parametrize("sizes", [{"vocab": 1}, {"vocab": 2}, {"positions": 1}])
def test_the_smallest_models_are_compared_too(sizes: dict[str, int], tmp_path: Path) -> None:
    subject = random_gpt2(**sizes)
    report = examined(subject, convert(subject, tmp_path / "model"))
    assert report.outcome == "passed"
    assert ("kv cache" in outcomes(report)) == ("positions" not in sizes)


@pytest.mark.parametrize(("length", "shape"), [(9, (1, 9)), (24, (1, 24)), (60, (2, 24))])
def test_text_is_cut_into_windows_of_full_context(length: int, shape: tuple[int, int]) -> None:
    inputs = make_inputs(random_gpt2().architecture, list(range(length)), seed=0)
    assert inputs.text is not None and inputs.text.shape == shape


@pytest.mark.parametrize("order", VERSIONS)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_every_row_order_passes_on_any_number_of_ranks(
    order: str, ranks: int, tmp_path: Path
) -> None:
    subject = random_gpt2(order=order, ranks=ranks)
    assert examined(subject, convert(subject, tmp_path)).outcome == "passed"


@pytest.mark.parametrize("asked", ["float16", "bfloat16", "float32", None])
@pytest.mark.parametrize("one_p", [False, True])
def test_an_asked_for_dtype_is_rounded_once_and_passes(
    asked: str | None, one_p: bool, tmp_path: Path
) -> None:
    subject = random_gpt2(ranks=2).with_architecture(layernorm_1p=one_p)
    model = convert(subject, tmp_path, dtype=asked)
    stored = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", None: None}[asked]
    assert examined(subject, model, stored=stored).outcome == "passed"


def test_a_dtype_nobody_asked_for_fails(subject: Reference, tmp_path: Path) -> None:
    verdict = tensors(subject, convert(subject, tmp_path, dtype="float16"))
    assert verdict.outcome == "failed"
    assert "stored as F16, expected F32" in verdict.note


def test_one_flipped_bit_is_counted_and_named(tmp_path: Path) -> None:
    subject = random_gpt2(order="np,hn,3", ranks=4)
    model = convert(subject, tmp_path)

    def flip(weights: dict) -> None:
        weights["transformer.h.2.attn.c_attn.weight"].view("u4")[3, 5] ^= 1

    edit_weights(model, flip)
    assert tensors(subject, model).note == "transformer.h.2.attn.c_attn.weight: 1 of 3072 elements"


def test_a_flipped_sign_of_zero_counts(subject: Reference, tmp_path: Path) -> None:
    name, converted = "layers.0.mlp.dense_h_to_4h.bias", "transformer.h.0.mlp.c_fc.bias"
    zeros = replace(subject.checkpoint.tensors[name][0], array=np.zeros(128, "f4"))
    subject = subject.with_tensors({name: (zeros,)})
    model = convert(subject, tmp_path)
    edit_weights(model, lambda w: np.negative(w[converted], out=w[converted]))
    assert tensors(subject, model).note.startswith(f"{converted}: 128 of 128 elements")


def test_missing_left_over_and_misshapen_tensors_are_named(subject: Reference, model: Path) -> None:
    def change(weights: dict) -> None:
        del weights["transformer.ln_f.bias"]
        weights["transformer.h.0.attn.bias"] = np.ones((1, 1, 24, 24), np.float32)
        weights["transformer.h.0.attn.c_attn.bias"] = np.arange(95, dtype="f4")

    edit_weights(model, change)
    verdict = tensors(subject, model)
    assert [measure.seen for measure in verdict.measures] == [1, 1, 1]
    assert "transformer.ln_f.bias: missing" in verdict.note
    assert "transformer.h.0.attn.bias: left over" in verdict.note
    assert "c_attn.bias: shape [95], expected [96]" in verdict.note


def test_a_tensor_that_would_be_made_up_fails_the_load(subject: Reference, model: Path) -> None:
    edit_weights(model, lambda weights: weights.pop("transformer.ln_f.bias"))
    report = examined(subject, model)
    assert named(report, "load").outcome == "failed"
    assert "transformer.ln_f.bias" in named(report, "load").note
    assert report.blocks == () and report.cause is None


@pytest.mark.parametrize("field", ["scale_attn_by_inverse_layer_idx", "scale_attn_weights"])
def test_config_fields_that_change_the_mathematics_are_compared(
    field: str, subject: Reference, model: Path
) -> None:
    edit_config(model, **{field: field != "scale_attn_weights"})
    found = outcomes(examined(subject, model))
    assert found["config"] == found["logits"] == "failed"


def test_another_name_of_the_same_gelu_is_no_difference(subject: Reference, model: Path) -> None:
    edit_config(model, activation_function="gelu_pytorch_tanh")
    assert examined(subject, model).outcome == "passed"


def test_no_directory_or_no_weights_is_a_clear_error(subject: Reference, model: Path) -> None:
    with pytest.raises(ModelUnreadableError, match=r"config\.json"):
        examined(subject, model / "nowhere")
    (model / "model.safetensors").unlink()
    with pytest.raises(ModelUnreadableError, match=r"model\.safetensors"):
        examined(subject, model)


def test_not_a_number_fails_every_numeric_check(subject: Reference, model: Path) -> None:
    edit_weights(model, lambda weights: weights["transformer.ln_f.bias"].fill(np.nan))
    report = examined(subject, model, dtypes=("bfloat16",))
    found = outcomes(report)
    numeric = ("logits", "kv cache", "left padding", "greedy continuation", "precision bfloat16")
    assert {found[name] for name in numeric} == {"failed"}
    assert report.first == "final norm"
    json.dumps(report.plain(), allow_nan=False)


def test_a_disagreement_within_the_limit_is_a_tie_and_beyond_it_is_not() -> None:
    reference = np.array([[1.0, 0.9999, 0.0]], np.float32)
    converted = np.array([[0.9999, 1.0, 0.0]], np.float32)
    near = compare_logits(reference, converted, np.array([0]), limit=1e-4)
    far = compare_logits(reference, converted, np.array([0]), limit=1e-5)
    assert (near.tie.sum(), near.wrong.sum()) == (1, 0)
    assert (far.tie.sum(), far.wrong.sum()) == (0, 1)


def test_kl_and_likelihood_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    reference, converted = rng.normal(size=(2, 130, 7)).astype(np.float32)
    ids = rng.integers(7, size=130)
    seen = compare_logits(reference, converted, ids, limit=1e-4)
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (reference, converted))
    assert seen.kl == pytest.approx((p * np.log(p / q)).sum(-1), rel=1e-4)
    rows = np.arange(129)
    expected = np.stack([-np.log(side[rows, ids[1:]]) for side in (p, q)])
    assert seen.nll == pytest.approx(expected, rel=1e-5)


def test_half_precision_that_loses_more_than_rounding_fails() -> None:
    rng = np.random.default_rng(0)
    full = rng.normal(size=(1, 32, 500)).astype(np.float32)
    near = full * (1 + rng.normal(size=full.shape).astype(np.float32) * 2**-11)
    far = full * (1 + rng.normal(size=full.shape).astype(np.float32) * 2**-5)
    assert check_precision("float16", "cpu", full, near, layers=4).outcome == "passed"
    assert check_precision("float16", "cpu", full, far, layers=4).outcome == "failed"
