"""Llama, Qwen2, Qwen3, Mistral: Megatron core's own logits, and this family's classic mistakes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.open import open_checkpoint
from megaport.parity.attention import rotate
from megaport.parity.parity import examine
from megaport.parity.reading import check_reading, other_readings
from megaport.parity.reference import Reference
from megaport.parity.references import reference_of
from megaport.parity.report import ParityReport
from megaport.tensors import Array
from support.llama_models import LLAMA3, Shape, random_llama, trained_llama
from support.oracles import ORACLES
from support.parity_mistakes import Weights, edit_config, edit_weights, swap
from support.parity_models import OPTIONS, convert

FOLDERS = sorted(path.parent for path in (ORACLES.parent / "llama").glob("*/logits.npy"))
CASES = [pytest.param(path, id=path.name) for path in FOLDERS]
KINDS = {
    "grouped": Shape(),
    "own head, two ranks": Shape(ranks=2, untied=True),
    "one group for all": Shape(groups=1),
    "a key for each query": Shape(groups=4, ranks=2),
    "biases": Shape("qwen2", ranks=2),
    "norms of queries and keys": Shape("qwen3", head_size=10),
}
LAYER = "model.layers.{}.{}.weight"


def examined(subject: Reference, out: Path) -> ParityReport:
    return examine(subject.checkpoint, subject.architecture, out, OPTIONS)


@pytest.mark.oracle
@pytest.mark.parametrize("folder", CASES)
def test_the_reference_gives_megatron_cores_logits_and_the_converted_model_passes(
    folder: Path, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(folder, version=None, spool=tmp_path)
    facts = json.loads((folder / "config.json").read_text())
    subject = reference_of(
        checkpoint, describe_architecture(checkpoint, {"vocab_size": facts["vocab"]})
    )
    expected = np.load(folder / "logits.npy")[..., : facts["vocab"]].astype(np.float32)
    allowed = 5e-2 if subject.architecture.dtype == "bfloat16" else 5e-5
    for precision in ("float32", "float64"):
        logits = subject.at(precision).logits(np.load(folder / "input_ids.npy"))
        np.testing.assert_allclose(logits, expected, rtol=0, atol=allowed)
    report = examined(subject, convert(subject, tmp_path / "model"))
    assert (report.failed, report.first) == ((), None)


@pytest.mark.parametrize("shape", KINDS.values(), ids=KINDS)
def test_every_kind_passes_as_converted(shape: Shape, tmp_path: Path) -> None:
    subject = random_llama(shape)
    report = examined(subject, convert(subject, tmp_path))
    assert (report.failed, report.first) == ((), None)


@pytest.mark.parametrize(
    "fields",
    [{"rope_scaling": LLAMA3}, {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}],
    ids=["Llama 3.1's scaling", "linear scaling"],
)
def test_scaled_rotary_positions_are_transformers(fields: dict[str, Any], tmp_path: Path) -> None:
    subject = random_llama(**fields)
    assert examined(subject, convert(subject, tmp_path)).failed == ()


def test_a_window_hides_what_is_before_it(tmp_path: Path) -> None:
    subject = random_llama(Shape("mistral"), sliding_window=5)
    assert examined(subject, convert(subject, tmp_path)).failed == ()
    edit_config(tmp_path, sliding_window=6)
    assert caught(subject, tmp_path) == ("config", "layer 0")


def test_rotary_positions_depend_on_distances_alone() -> None:
    query, key = np.random.default_rng(0).normal(size=(2, 1, 8))
    turned = [rotate(np.repeat(row, 9, axis=0), 10_000.0, None) for row in (query, key)]
    scores = turned[0] @ turned[1].T
    np.testing.assert_allclose(np.diag(scores, -2), scores[2, 0])
    assert abs(scores[2, 0] - scores[3, 0]) > 1e-3


@pytest.mark.parametrize("ranks", [2])
def test_ranks_give_what_one_rank_gives(ranks: int) -> None:
    one, several = (random_llama(Shape("qwen2", ranks=r), seed=3) for r in (1, ranks))
    ids = np.arange(24).reshape(2, 12)
    expected = one.at("float64").logits(ids)
    found = several.at("float64").logits(ids)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def rows(subject: Reference, change: Callable[[Array], Array]) -> Callable[[Weights], None]:
    """`change` done to the rows of queries and keys, as [heads, head size, hidden]."""
    size = subject.architecture.width

    def edit(weights: Weights) -> None:
        for name in [name for name in weights if "q_proj" in name or "k_proj" in name]:
            heads = weights[name].reshape(-1, size, *weights[name].shape[1:])
            weights[name] = np.ascontiguousarray(change(heads).reshape(weights[name].shape))

    return edit


def interleaved(heads: Array) -> Array:
    """Row i and row i + size / 2 behind each other, as rotary positions of another kind need."""
    split = heads.reshape(len(heads), 2, -1, *heads.shape[2:])
    return split.swapaxes(1, 2).reshape(heads.shape)


def halved(heads: Array) -> Array:
    """And back again."""
    split = heads.reshape(len(heads), -1, 2, *heads.shape[2:])
    return split.swapaxes(1, 2).reshape(heads.shape)


def three_blocks(subject: Reference) -> Callable[[Weights], None]:
    """Rows of query, key and value cut as if the groups were not there."""

    def edit(weights: Weights) -> None:
        a = subject.architecture
        for layer in range(a.n_layer):
            shards = subject.checkpoint.tensors[f"layers.{layer}.self_attention.linear_qkv.weight"]
            whole = np.concatenate([shard.array for shard in shards])
            cuts = [a.n_head * a.width, (a.n_head + a.groups) * a.width]
            for part, block in zip("qkv", np.split(whole, cuts), strict=True):
                weights[LAYER.format(layer, f"self_attn.{part}_proj")] = block.copy()

    return edit


def joined_wrongly(subject: Reference) -> Callable[[Weights], None]:
    """The ranks' linear_fc1 behind each other, the first half taken for the gate."""

    def edit(weights: Weights) -> None:
        for layer in range(subject.architecture.n_layer):
            shards = subject.checkpoint.tensors[f"layers.{layer}.mlp.linear_fc1.weight"]
            halves = np.split(np.concatenate([shard.array for shard in shards]), 2)
            for part, half in zip(("gate", "up"), halves, strict=True):
                weights[LAYER.format(layer, f"mlp.{part}_proj")] = half.copy()

    return edit


MISTAKES = {
    "gate and up swapped": (
        lambda s: swapped("gate_proj", "up_proj"),
        "tensors swapped",
        "gate_proj.weight, it is model.layers.0.mlp.up_proj.weight",
    ),
    "key and value swapped": (
        lambda s: swapped("k_proj", "v_proj"),
        "tensors swapped",
        "k_proj.weight, it is model.layers.0.self_attn.v_proj.weight",
    ),
    "norms swapped": (
        lambda s: swapped("input_layernorm", "post_attention_layernorm"),
        "tensors swapped",
        "it is model.layers.0.post_attention_layernorm.weight",
    ),
    "rotary interleaved": (lambda s: rows(s, interleaved), "rotary", "permuted"),
    "rotary permuted as from Meta's format": (lambda s: rows(s, halved), "rotary", "permuted"),
    "groups forgotten": (three_blocks, "query groups", "three blocks"),
    "linear_fc1 joined before it is parted": (joined_wrongly, "ranks joined first", "gate_proj"),
}


def swapped(first: str, second: str) -> Callable[[Weights], None]:
    def edit(weights: Weights) -> None:
        for name in [name for name in weights if first in name]:
            other = name.replace(first, second)
            weights[name], weights[other] = weights[other], weights[name]

    return edit


@pytest.mark.parametrize(("plant", "cause", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_tensors_is_caught_and_named(
    plant: Callable[[Reference], Callable[[Weights], None]], cause: str, says: str, tmp_path: Path
) -> None:
    subject = random_llama(Shape(ranks=2))
    edit_weights(convert(subject, tmp_path), plant(subject))
    report = examined(subject, tmp_path)
    assert "logits" in {verdict.name for verdict in report.failed}
    assert report.first == "layer 0"
    assert report.cause is not None and report.cause.name == cause
    assert says in report.cause.sentence


ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
SETTINGS = {
    "epsilon": ({"rms_norm_eps": 1e-3}, "rms_norm_eps is 0.001"),
    "base": (
        {"rope_theta": 5e5, "rope_parameters": {**ROPE, "rope_theta": 5e5}},
        "rope_theta is 500000.0, not 10000.0",
    ),
    "scaling": ({"rope_parameters": {**ROPE, **LLAMA3}}, "rope scaling is"),
    "head size": (
        {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 4},
        "num_attention_heads is 8, not 4",
    ),
}


@pytest.mark.parametrize(("edits", "says"), SETTINGS.values(), ids=SETTINGS)
def test_a_mistake_in_the_settings_is_caught_and_named(
    edits: dict[str, Any], says: str, tmp_path: Path
) -> None:
    subject = random_llama(Shape(ranks=2))
    edit_config(convert(subject, tmp_path), **edits)
    assert caught(subject, tmp_path) == ("config", "layer 0")
    assert says in examined(subject, tmp_path).diagnosis


def test_an_own_head_that_was_tied_is_caught(tmp_path: Path) -> None:
    subject = random_llama(Shape(untied=True))
    edit_weights(convert(subject, tmp_path), lambda weights: weights.pop("lm_head.weight"))
    edit_config(tmp_path, tie_word_embeddings=True)
    assert caught(subject, tmp_path) == ("config", "head")


def test_another_class_is_said_and_not_run(tmp_path: Path) -> None:
    subject = random_llama()
    edit_config(convert(subject, tmp_path), model_type="gpt2")
    report = examined(subject, tmp_path)
    assert "model_type is gpt2, not llama" in report.diagnosis


def test_layers_swapped_are_named(tmp_path: Path) -> None:
    subject = random_llama()
    swap("layers.0.", "layers.1.")(subject, tmp_path)
    assert caught(subject, tmp_path) == ("layers swapped", "layer 0")


def test_other_readings_are_sizes_of_a_head_and_rotary_bases() -> None:
    names = [name for name, _ in other_readings(random_llama())]
    assert "heads of size 4" in names and "rotary base 500,000" in names
    assert "heads of size 8" not in names and "rotary base 10,000" not in names
    normed = random_llama(Shape("qwen3", ranks=2))
    said = [name for name, _ in other_readings(normed)]
    assert not any("size" in name for name in said)
    assert "tensor-parallel ranks 0 and 1 swapped" in said


def repeating(count: int) -> Array:
    """Mostly the token seven places before: to know it takes rotary positions that are right."""
    rng = np.random.default_rng(count)
    ids = rng.integers(40, size=(count, 64))
    for at in range(7, 64):
        kept = rng.random(count) < 0.9
        ids[kept, at] = ids[kept, at - 7]
    return ids


@pytest.mark.slow
def test_a_size_of_heads_wrong_on_both_sides_is_caught_by_the_text() -> None:
    shape = Shape(hidden=64, inner=96, head_size=16, vocab=40, padded=64, positions=64)
    seeds = iter(range(100, 400))
    right = trained_llama(shape, lambda n: repeating(n + next(seeds))[:n], steps=150)
    text = repeating(8)
    assert check_reading(right, text).outcome == "passed"
    for fields, says in (
        ({"head_size": 8, "n_head": 8, "n_group": 4}, "heads of size 16"),
        ({"rope_theta": 1_000_000.0}, "rotary base 10,000"),
    ):
        verdict = check_reading(right.with_architecture(**fields), text)
        assert verdict.outcome == "failed"
        assert verdict.note.startswith(f"the text reads better with {says}; ")


def caught(subject: Reference, model: Path) -> tuple[str, str | None]:
    report = examined(subject, model)
    assert "logits" in {verdict.name for verdict in report.failed}
    assert report.cause is not None
    return report.cause.name, report.first
