"""One run on a GPU: check the kernels, time every engine on a synthetic 345M, write the table.

    python benchmarks/card.py [--out FOLDER] [--engines static llamacpp] [--sweep]

For whoever has a card for five minutes: torch's CUDA build (Triton comes with it) and transformers
are enough, pytest adds the kernels against float64. Prints the Markdown of
docs/how-it-works/generation-benchmark.md with device and commit. `--sweep` then tries other tiles.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import torch
from costs import ROOT

from generate import run
from megaport.benchmark.instruments import clock_for
from megaport.config.model import Benchmark
from megaport.generate.device import Placement, resolve_device
from megaport.generate.engines import fused
from megaport.generate.engines.base import Batch
from megaport.generate.engines.decoding import Decoding
from megaport.generate.engines.fast import FastEngine

GRID = {"batch_sizes": [1, 4, 16, 64], "prompt_lengths": [1, 32, 128, 512]}
STEPS = 30


class WithoutKernels(FastEngine):
    """`fast` as it runs where Triton is missing: torch's own kernels in CUDA graphs."""

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        engine = super().load(model_dir, placement)
        engine._decide_kernels("to compare")
        return engine


def main() -> None:
    given = _arguments()
    began, device = time.monotonic(), resolve_device(given.device).device
    print(f"kernels against float64: {check_kernels(device)}", flush=True)
    options = Benchmark(
        device=device,
        dtypes=["float16" if device == "cuda" else "float32"],
        engines=["eager", "fast", "card:WithoutKernels", *given.engines],
        new_tokens=64,
        **GRID,
    )
    with tempfile.TemporaryDirectory() as folder:
        model = run(Path(folder), given, options, patience_s=120)
        print(f"Measured at commit {_commit()}, in {time.monotonic() - began:.0f} s.", flush=True)
        if given.sweep:
            for rows in (1, 16, 64):
                sweep(model, device, rows)


def check_kernels(device: str) -> str:
    """tests/generate/test_kernels.py on the card itself."""
    if not importlib.util.find_spec("pytest"):
        return "not run, pytest is not installed"
    environment = {
        **os.environ,
        "KERNELS_DEVICE": device,
        "TRITON_INTERPRET": "0" if device == "cuda" else "1",
        "PYTHONPATH": str(ROOT / "workflow"),
    }
    test = ROOT / "tests" / "generate" / "test_kernels.py"
    # Without the suite's own settings, which want more packages.
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--noconftest", str(test)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return "\n".join(ran.stdout.strip().splitlines()[-12 if ran.returncode else -1 :])


@torch.inference_mode()
def sweep(model: Path, device: str, rows: int) -> None:
    """Microseconds a step with the outputs of each kind of tile halved and doubled."""
    placement = resolve_device(device)
    network = FastEngine.load(model, placement).network
    table = fused.ONE_ROW if rows == 1 else fused.MANY_ROWS
    print(f"{rows} rows, as it is: {step_us(network, rows):.0f} us", flush=True)
    for epilogue, outs in list(table.items())[:-1]:  # greedy steps take no logits
        for other in (outs // 2, outs * 2):
            table[epilogue] = other
            said = step_us(network, rows)
            print(f"{rows} rows, {epilogue} {outs} -> {other}: {said:.0f} us", flush=True)
        table[epilogue] = outs


def step_us(network: Any, rows: int) -> float:
    """Microseconds of one decode step of `rows` rows, after its trial and its warming."""
    decoding = Decoding(network, Batch([[1]] * rows, STEPS + 5), fused=True)
    assert decoding.fused
    if reason := fused.trial(decoding.fused):
        print(f"refused: {reason}")
        return float("nan")
    decoding.prefill(Batch([[1]] * rows, STEPS + 5))
    for _ in range(3):
        decoding.step()
    clock = clock_for(network.device, in_stream=True)
    clock.start()
    for _ in range(STEPS):
        decoding.step()
    clock.mark()
    return 1e6 * clock.read()[1][0] / STEPS


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stdout.strip() or "unknown"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--engines", nargs="*", default=[], help="more: static, llamacpp")
    parser.add_argument("--model", type=Path, help="a model directory instead of the synthetic one")
    parser.add_argument("--out", type=Path, help="where JSON, table and pictures are left")
    parser.add_argument("--sweep", action="store_true", help="then try other tiles (minutes)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
