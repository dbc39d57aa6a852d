"""Llama, Qwen2, Qwen3, Mistral: Megatron core's own logits, and this family's classic mistakes."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.open import open_checkpoint
from megaport.parity.reading import check_reading, other_readings
from megaport.parity.reference import Reference
from megaport.parity.references import reference_of
from megaport.table import Architecture
from megaport.tensors import Array
from support.llama_models import random_llama, trained_llama
from support.oracles import LLAMAS, folders_of
from support.parity_mistakes import (
    Plant,
    Planted,
    Weights,
    assert_caught,
    configured,
    edit_config,
    edited,
    examined,
    head_tied,
    swap,
)
from support.subjects import convert

CASES = [pytest.param(path, id=path.name) for path in folders_of(LLAMAS)]
KINDS: dict[str, dict[str, Any]] = {
    "grouped": {},
    "own head, two ranks": {"ranks": 2, "untied": True},
    "one group for all": {"groups": 1},
    "a key for each query": {"groups": 4, "ranks": 2},
    "biases": {"kind": "qwen2", "ranks": 2},
    "norms of queries and keys": {"kind": "qwen3", "size": 10},
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


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


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_passes_as_converted(kind: dict[str, Any], tmp_path: Path) -> None:
    subject = random_llama(**kind)
    report = examined(subject, convert(subject, tmp_path))
    assert (report.failed, report.first) == ((), None)


@pytest.mark.parametrize(
    "fields",
    [{"rope_scaling": LLAMA3}, {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}],
    ids=["Llama 3.1's scaling", "linear scaling"],
)
def test_scaled_rotary_positions_are_transformers(fields: dict[str, Any], tmp_path: Path) -> None:
    subject = random_llama().with_architecture(**fields)
    assert examined(subject, convert(subject, tmp_path)).failed == ()


def test_a_window_hides_what_is_before_it(tmp_path: Path) -> None:
    subject = random_llama("mistral").with_architecture(sliding_window=5)
    assert examined(subject, convert(subject, tmp_path)).failed == ()
    wider = Planted("config", configured(sliding_window=6))
    assert_caught(subject, wider, tmp_path)


def permuted(*, into: bool) -> Plant:
    """Rows of queries and keys in the order that rotary positions of another kind need: row i and
    row i + size / 2 behind each other; or back again, which they were not."""

    def plant(subject: Reference, out: Path) -> None:
        half = subject.architecture.width // 2
        pairs = (2, half) if into else (half, 2)

        def change(weights: Weights) -> None:
            for name in [name for name in weights if "q_proj" in name or "k_proj" in name]:
                whole = weights[name]
                split = whole.reshape(-1, *pairs, *whole.shape[1:]).swapaxes(1, 2)
                weights[name] = np.ascontiguousarray(split.reshape(whole.shape))

        edited(change)(subject, out)

    return plant


def cut_wrongly(source: str, targets: Sequence[str], cuts: Callable[[Architecture], Any]) -> Plant:
    """The ranks' `source` of each layer joined, then cut into `targets` as np.split cuts."""

    def plant(subject: Reference, out: Path) -> None:
        def change(weights: Weights) -> None:
            for layer in range(subject.architecture.n_layer):
                shards = subject.checkpoint.tensors[f"layers.{layer}.{source}.weight"]
                whole = np.concatenate([shard.array for shard in shards])
                parts = np.split(whole, cuts(subject.architecture))
                for target, part in zip(targets, parts, strict=True):
                    weights[f"model.layers.{layer}.{target}.weight"] = part.copy()

        edited(change)(subject, out)

    return plant


QKV = [f"self_attn.{part}_proj" for part in "qkv"]
ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
MISTAKES = {
    "gate and up swapped": Planted(
        "tensors swapped",
        swap("gate_proj", "up_proj"),
        says="gate_proj.weight, it is model.layers.0.mlp.up_proj.weight",
    ),
    "key and value swapped": Planted(
        "tensors swapped",
        swap("k_proj", "v_proj"),
        says="k_proj.weight, it is model.layers.0.self_attn.v_proj.weight",
    ),
    "norms swapped": Planted(
        "tensors swapped",
        swap("input_layernorm", "post_attention_layernorm"),
        says="it is model.layers.0.post_attention_layernorm.weight",
    ),
    "layers swapped": Planted("layers swapped", swap("layers.0.", "layers.1.")),
    "rotary interleaved": Planted("rotary", permuted(into=True), says="permuted"),
    "rotary permuted as from Meta's format": Planted(
        "rotary", permuted(into=False), says="permuted"
    ),
    "groups forgotten": Planted(
        "query groups",
        cut_wrongly(
            "self_attention.linear_qkv",
            QKV,
            lambda a: [a.n_head * a.width, (a.n_head + a.groups) * a.width],
        ),
        says="three blocks",
    ),
    "linear_fc1 joined before it is parted": Planted(
        "ranks joined first",
        cut_wrongly("mlp.linear_fc1", ["mlp.gate_proj", "mlp.up_proj"], lambda _: 2),
        says="gate_proj",
    ),
    "epsilon": Planted("config", configured(rms_norm_eps=1e-3), says="rms_norm_eps is 0.001"),
    "base": Planted(
        "config",
        configured(rope_theta=5e5, rope_parameters={**ROPE, "rope_theta": 5e5}),
        says="rope_theta is 500000.0, not 10000.0",
    ),
    "scaling": Planted(
        "config", configured(rope_parameters={**ROPE, **LLAMA3}), says="rope scaling is"
    ),
    "head size": Planted(
        "config",
        configured(num_attention_heads=8, num_key_value_heads=4, head_dim=4),
        says="num_attention_heads is 8, not 4",
    ),
}


@pytest.mark.parametrize("planted", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_caught_and_named(planted: Planted, tmp_path: Path) -> None:
    assert_caught(random_llama(ranks=2), planted, tmp_path)


def test_an_own_head_that_was_tied_is_caught(tmp_path: Path) -> None:
    assert_caught(random_llama(untied=True), Planted("config", head_tied, "head"), tmp_path)


def test_another_class_is_said_and_not_run(tmp_path: Path) -> None:
    subject = random_llama()
    edit_config(convert(subject, tmp_path), model_type="gpt2")
    report = examined(subject, tmp_path)
    assert "model_type is gpt2, not llama" in report.diagnosis


def test_other_readings_are_sizes_of_a_head_and_rotary_bases() -> None:
    names = [name for name, _ in other_readings(random_llama())]
    assert "heads of size 4" in names and "rotary base 500,000" in names
    assert "heads of size 8" not in names and "rotary base 10,000" not in names
    normed = random_llama("qwen3", ranks=2)
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
    sizes = {"hidden": 64, "inner": 96, "size": 16, "vocab": 40, "padded": 64}
    seeds = iter(range(100, 400))
    right = trained_llama(
        lambda n: repeating(n + next(seeds))[:n], steps=150, positions=64, **sizes
    )
    text = repeating(8)
    assert check_reading(right, text).outcome == "passed"
    for fields, says in (
        ({"head_size": 8, "n_head": 8, "n_group": 4}, "heads of size 16"),
        ({"rope_theta": 1_000_000.0}, "rotary base 10,000"),
    ):
        verdict = check_reading(right.with_architecture(**fields), text)
        assert verdict.outcome == "failed"
        assert verdict.note.startswith(f"the text reads better with {says}; ")
