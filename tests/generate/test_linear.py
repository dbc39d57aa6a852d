"""Kinds of linear layer: all the same function; the fastest is taken where it matters."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from megaport.generate.engines import linear, native, network, open_engine
from megaport.generate.engines.base import Batch
from support.tiny_gpt2 import FP32

DTYPES = [torch.float32, torch.bfloat16]
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of compiled code of its own, and none loaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.library.cache_clear()
    yield tmp_path / "megaport"
    native.library.cache_clear()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [1, 2, 5, 40])
@pytest.mark.parametrize(("size", "outs"), [(160, 77), (7, 24), (515, 13)])
@pytest.mark.parametrize("gelu", ["", "tanh"])
def test_every_kind_is_the_same_function(
    dtype: torch.dtype, rows: int, size: int, outs: int, gelu: str
) -> None:
    seeded = torch.Generator().manual_seed(rows)
    x, bias = torch.randn(rows, 1, size, generator=seeded), torch.randn(outs, generator=seeded)
    weight = torch.randn(outs, size, generator=seeded) / size**0.5
    residual = None if gelu else torch.randn(rows, 1, outs, generator=seeded).to(dtype)
    x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
    wanted = torch.nn.functional.linear(x.double(), weight.double(), bias.double())
    if gelu:
        wanted = torch.nn.functional.gelu(wanted, approximate=gelu)
    elif residual is not None:
        wanted = wanted + residual.double()
    kinds: list[type[linear.Linear]] = linear.candidates(dtype)
    assert linear.Native in kinds or not native.compiler()
    both = [linear.Both] if {linear.Native, linear.Packed} <= set(kinds) else []
    for kind in [*kinds, *both]:
        given = None if residual is None else residual.clone()
        found = kind(weight, bias, gelu)(x, given)
        torch.testing.assert_close(found.double(), wanted, rtol=CLOSE[dtype], atol=CLOSE[dtype])


def test_without_a_compiler_the_others_are_there(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(native.NativeError, match=r"no g\+\+"):
        native.library()
    assert linear.Native not in linear.candidates(torch.float32)
    assert linear.Plain in linear.candidates(torch.float32)


@pytest.mark.parametrize("failure", [subprocess.CalledProcessError(1, "g++"), OSError("full")])
def test_a_compiler_that_fails_is_none(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(native.subprocess, "run", fail)
    assert linear.Native not in linear.candidates(torch.float32)


@pytest.mark.skipif(not native.compiler(), reason="no C++ compiler here")
def test_it_is_compiled_once_and_again_where_the_cache_is_gone(fresh: Path) -> None:
    native.library()
    (made,) = fresh.iterdir()
    time = made.stat().st_mtime_ns
    native.library.cache_clear()
    native.library()
    assert made.stat().st_mtime_ns == time
    made.unlink()
    native.library.cache_clear()
    native.library()
    assert made.is_file()


class Slow(linear.Plain):
    """Never the fastest."""

    name = "slow"

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        for _ in range(30):
            super().__call__(x)
        return super().__call__(x, residual)


def test_the_fastest_is_taken_and_each_ones_speed_said() -> None:
    def trial(kind: type[linear.Linear]) -> Callable[[int], torch.Tensor]:
        layer = kind(torch.ones(4000, 512), None, "")
        return lambda rows: layer(torch.ones(rows, 512))

    best, said = linear.fastest([Slow, linear.Plain], trial, 4000 * 512 * 4)
    assert best is linear.Plain
    assert said.startswith("slow ")
    assert "torch's linear " in said


@pytest.mark.parametrize(
    ("packed", "taken"), [([2.0, 1.0], linear.Both), ([1.1, 1.0], linear.Packed)]
)
def test_both_layouts_are_held_where_they_save_enough(
    monkeypatch: pytest.MonkeyPatch, packed: list[float], taken: type[linear.Linear]
) -> None:
    seconds = {linear.Native: [1.0, 3.0], linear.Packed: packed}
    monkeypatch.setattr(linear, "_times", lambda kind: seconds[kind])
    assert linear.fastest(list(seconds), lambda kind: kind, 1)[0] is taken


def test_a_large_model_is_tried_and_its_tokens_are_the_same(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch([[1, 2], [3]], 40)
    expected = open_engine("fast", tiny, FP32)
    assert "tried" not in expected.note
    monkeypatch.setattr(network, "SMALL", 0)
    for kind in linear.candidates(torch.float32):
        monkeypatch.setattr(network, "candidates", lambda dtype, kind=kind: [kind])
        engine = open_engine("fast", tiny, FP32)
        assert engine.note.startswith(f"weights {kind.name} (tried, GB/s: {kind.name} ")
        assert engine.generate(batch) == expected.generate(batch)
