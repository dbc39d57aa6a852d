"""Decode steps of the strung-together kernels, by Triton's interpreter: eager's tokens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from megaport.generate.device import Placement
from megaport.generate.engines import fused, kernels, linear, open_engine
from megaport.generate.engines.base import Batch
from megaport.generate.engines.fast import FastEngine, KernelWarning
from megaport.generate.sampling import Sampling
from support.checkout import ROOT
from support.tiny_gpt2 import FP32, write_tiny_gpt2

MISSING = fused.missing
ONE = [[1, 2, 3] * 6]
THREE = [[1, 2, 3], [7] * 6, [60, 5]]
SAMPLED = Sampling(greedy=False, temperature=0.8, top_k=40, top_p=0.9)
# The interpreter takes a second a step.
SMALL = {"n_embd": 20, "n_head": 2, "n_inner": 24, "vocab_size": 61, "bos_token_id": 60}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gpt2(tmp_path_factory.mktemp("small"), tokenizer=False, **SMALL)


@pytest.fixture(autouse=True)
def as_on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are there, and weights lie as they do on a GPU."""
    monkeypatch.setattr(fused, "missing", lambda device: "")
    monkeypatch.setattr(linear, "one_dnn_takes", lambda dtype: False)


def _fast(model: Path, dtype: str = "float32") -> FastEngine:
    return FastEngine.load(model, Placement("cpu", dtype, "a test"))


@pytest.mark.parametrize(
    ("prompts", "sampling"),
    [
        pytest.param(ONE, Sampling(), id="1 row, greedy"),
        pytest.param(THREE, SAMPLED, id="3 rows, sampled"),
        pytest.param(ONE, SAMPLED, id="1 row, sampled", marks=pytest.mark.slow),
        pytest.param(THREE, Sampling(), id="3 rows, greedy", marks=pytest.mark.slow),
    ],
)
def test_kernels_give_eagers_tokens(
    small: Path, prompts: list[list[int]], sampling: Sampling
) -> None:
    batch = Batch(prompts, len(prompts[0]) + 5, sampling, seeds=range(len(prompts)))
    engine = _fast(small)
    assert engine.generate(batch) == open_engine("eager", small, FP32).generate(batch)
    assert engine._decoding is not None
    assert engine._decoding.fused is not None


def test_a_split_context_and_a_tied_head_with_exact_gelu_give_eagers_tokens(
    tmp_path: Path,
) -> None:
    changes = {"tie_word_embeddings": True, "activation_function": "gelu"}
    model = write_tiny_gpt2(tmp_path, tokenizer=False, **{**SMALL, **changes})
    batch = Batch([[5, 6, 8] * 22], 72)
    engine = _fast(model)
    assert engine.generate(batch) == open_engine("eager", model, FP32).generate(batch)
    assert engine._decoding is not None
    assert engine._decoding.fused is not None
    assert engine._decoding.fused.splits == 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_stay_close(small: Path, dtype: str) -> None:
    batch = Batch([[1, 2, 3], [4, 5, 6]], 7)
    found = _fast(small, dtype).generate(batch)
    assert found == open_engine("eager", small, FP32).generate(batch)


class Planted:
    """A kernel in another's place."""

    def __init__(self, kernel: object, what: str) -> None:
        self.kernel, self.what = kernel, what

    def __getitem__(self, grid: tuple[int, ...]) -> object:
        def launch(*given: object, **named: object) -> None:
            if self.what == "uncompiled":
                raise RuntimeError("PassManager::run failed\nand a page of MLIR")
            self.kernel[grid](*given, **named)  # type: ignore[index]
            out = given[5]
            assert isinstance(out, torch.Tensor)
            out.fill_(torch.nan) if self.what == "nan" else out.mul_(-1.0)

        return launch


@pytest.mark.parametrize(
    ("kernel", "what", "said"),
    [
        ("linear", "uncompiled", "RuntimeError: PassManager::run failed"),
        ("linear", "nan", "not finite"),
        ("attend", "uncompiled", "PassManager"),
        ("linear", "wrong", "off torch's"),
    ],
)
def test_a_kernel_that_fails_its_trial_is_replaced_by_torchs_and_named(
    small: Path, monkeypatch: pytest.MonkeyPatch, kernel: str, what: str, said: str
) -> None:
    monkeypatch.setattr(kernels, kernel, Planted(getattr(kernels, kernel), what))
    engine, batch = _fast(small), Batch(THREE, 9)
    with pytest.warns(KernelWarning, match=said):
        found = engine.generate(batch)
    assert found == open_engine("eager", small, FP32).generate(batch)
    assert engine._decoding is not None
    assert engine._decoding.fused is None
    engine.generate(Batch([[1]], 4))
    assert engine._decoding.fused is None, "not tried again"


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.slow
def test_ptxas_takes_every_kernel_without_a_card(capability: int) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "workflow"), str(ROOT / "tests")])
    command = [sys.executable, "-m", "support.ptxas", str(capability)]
    subprocess.run(command, check=True, env=environment)
