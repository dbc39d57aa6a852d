"""Rounding against torch's, exhaustively where a dtype is small; refusals with tensor and count."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file

from megaport.checkpoint.model import Decision
from megaport.convert.convert import ConversionError, convert_checkpoint
from megaport.convert.dtype import add_one, cast
from megaport.parity.reference import Reference
from megaport.tensors import STORAGE, Array, Tensor
from support.megatron_model import DTYPES, as_tensor, as_torch
from support.subjects import convert, small

BITS = {"F16": np.uint16, "BF16": np.uint16, "F32": np.uint32, "F64": np.uint64}
NORM = "layers.1.input_layernorm.bias"


def holding(changed: Mapping[str, Array]) -> Reference:
    """A random GPT-2 in FP32 with these values in some tensors."""
    tensors = {name: (Tensor("F32", array.astype("f4")),) for name, array in changed.items()}
    return small(dtype="F32").with_tensors(tensors)


def finite_values(dtype: str) -> Array:
    """Every finite value of a 16-bit dtype; of a wider one, random bits and the edges of others."""
    if STORAGE[dtype].itemsize == 2:
        every = np.arange(1 << 16, dtype=np.uint16).view(STORAGE[dtype])
    else:
        rng = np.random.default_rng(0)
        every = rng.integers(0, np.iinfo(BITS[dtype]).max, 200_000, BITS[dtype], endpoint=True)
        near = rng.integers(0, 1 << 16, 200_000).astype(np.uint16).view(np.float16)
        with np.errstate(invalid="ignore"):
            between = near.astype(STORAGE[dtype]).view(BITS[dtype]) + rng.integers(
                0, 3, 200_000
            ).astype(BITS[dtype])
        every = np.concatenate([every, between]).view(STORAGE[dtype])
    return every[torch.isfinite(as_torch(Tensor(dtype, every))).numpy()]


@pytest.mark.parametrize("source", ["F16", "BF16", "F32", "F64"])
@pytest.mark.parametrize("target", ["F16", "BF16", "F32"])
def test_each_value_is_rounded_as_torch_rounds_it(source: str, target: str) -> None:
    values = finite_values(source)
    seen = cast(values, source, target)
    assert seen.dtype == STORAGE[target]
    if (source, target) == ("F64", "BF16"):
        return  # torch rounds twice here: test_float64_to_bfloat16_is_rounded_once
    expected = as_tensor(as_torch(Tensor(source, values)).to(DTYPES[target])).array
    np.testing.assert_array_equal(seen.view(BITS[target]), expected.view(BITS[target]))


@example(1 + 2**-8 + 2**-40)  # above the middle; by way of float32 it would be the middle
@given(st.floats(min_value=-1e38, max_value=1e38).filter(lambda value: abs(value) > 1e-30))
def test_float64_to_bfloat16_is_rounded_once(value: float) -> None:
    pattern = int(cast(np.array([value]), "F64", "BF16")[0])
    distance = abs(value - bfloat16(pattern))
    for neighbour in (pattern - 1, pattern + 1):
        other = abs(value - bfloat16(neighbour))
        assert distance < other or (distance == other and pattern % 2 == 0)


def bfloat16(pattern: int) -> float:
    return float(np.array([pattern << 16], np.uint32).view(np.float32)[0])


def test_layernorm_1p_adds_one(tmp_path: Path) -> None:
    subject = small(dtype="F32")
    convert(subject.with_architecture(layernorm_1p=True), tmp_path / "one")
    convert(subject, tmp_path / "plain")
    one = load_file(tmp_path / "one" / "model.safetensors")
    plain = load_file(tmp_path / "plain" / "model.safetensors")
    for name, tensor in plain.items():
        is_scale = ".ln_" in name and name.endswith("weight")
        assert torch.equal(one[name], tensor + 1 if is_scale else tensor), name


def test_adding_one_works_on_every_dtype() -> None:
    quarter = {"F16": 0x3400, "BF16": 0x3E80}
    for dtype, pattern in quarter.items():
        array = np.array([pattern], np.uint16).view(STORAGE[dtype])
        assert as_torch(Tensor(dtype, add_one(array, dtype, dtype))).item() == 1.25


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_dtype_asked_for_is_the_dtype_written(tmp_path: Path, dtype: str) -> None:
    subject = small(dtype="F32")
    convert(subject, tmp_path, dtype=dtype)
    tensors = load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {getattr(torch, dtype)}
    source = as_torch(subject.checkpoint.tensors["final_layernorm.weight"][0])
    assert torch.equal(tensors["transformer.ln_f.weight"], source.to(getattr(torch, dtype)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_hazard_nan_or_inf(tmp_path: Path, bad: float, dtype: str | None) -> None:
    broken = np.zeros(16, np.float32)
    broken[[1, 5, 9]] = bad
    names = (NORM, "final_layernorm.weight")
    with pytest.raises(ConversionError) as refused:
        convert(holding(dict.fromkeys(names, broken)), tmp_path, dtype=dtype)
    for name in names:
        assert f"{name}: 3 values are NaN or Inf" in str(refused.value)
    assert "overflow" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_padding_rows_may_hold_anything(tmp_path: Path) -> None:
    words = np.zeros((128, 16))
    words[101:] = np.nan
    convert(holding({"word_embeddings.weight": words}), tmp_path)


@pytest.mark.parametrize("largest", [65519.0, 65520.0, -65520.0, 3e38])
def test_hazard_fp32_values_that_overflow_fp16(tmp_path: Path, largest: float) -> None:
    values = np.zeros(16)
    values[[2, 3]] = largest
    if abs(largest) < 65520:  # rounds to 65504, float16's largest
        convert(holding({NORM: values}), tmp_path, dtype="float16")
        return
    with pytest.raises(ConversionError, match=rf"{NORM}: 2 values overflow float16"):
        convert(holding({NORM: values}), tmp_path, dtype="float16")
    assert list(tmp_path.iterdir()) == []


SMALLEST = 2.0**-24  # of float16's numbers beside zero; half of it is rounded to zero


def lost(tmp_path: Path, values: Array, dtype: str = "float16") -> tuple[Decision, ...]:
    subject = holding({"layers.0.attention.dense.weight": values})
    return convert_checkpoint(
        subject.checkpoint, subject.architecture, tmp_path, dtype=dtype, max_shard_size=None
    ).decisions


def test_hazard_a_matrix_that_becomes_zeros_in_fp16_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (decision,) = lost(tmp_path, np.full((16, 16), 1e-9))
    assert decision.value == ["layers.0.attention.dense.weight: 256 of 256"]
    assert "dense.weight: 256 of 256" in caplog.text
    assert lost(tmp_path, np.full((16, 16), 1e-9), dtype="bfloat16") == ()


@pytest.mark.parametrize(("small_values", "said"), [(0, False), (1, True), (200, True)])
def test_more_than_one_value_in_a_thousand_that_becomes_zero_is_said(
    tmp_path: Path, small_values: int, said: bool
) -> None:
    values = np.full(256, SMALLEST)
    values[:small_values] /= -4
    values[200:210] = 0  # was zero before, and is not counted
    assert bool(lost(tmp_path, values.reshape(16, 16))) is said


def test_the_last_value_that_becomes_zero_is_said(tmp_path: Path) -> None:
    values = np.zeros((16, 16))
    values[3, 4] = SMALLEST / 4
    assert lost(tmp_path, values)[0].value == ["layers.0.attention.dense.weight: 1 of 256"]
