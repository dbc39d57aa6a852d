"""Every engine and installed peer on one synthetic 345M, side by side.

    python benchmarks/generate.py [--device cuda] [--dtypes bfloat16,float32] [--out FOLDER]

One command for any machine with torch 2.11 or later and transformers 5.17 or later; peers join
where they are installed (llama-cpp-python with gguf). The model has GPT-2
345M's sizes and seeded random FP16 weights. Every engine must give FP32 `model.generate`'s greedy
tokens first. Prints the Markdown of docs/how-it-works/generation-benchmark.md and, with --out,
leaves the JSON with raw samples, the table and the plots there.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import torch  # noqa: E402
from transformers import GPT2Config, GPT2LMHeadModel  # noqa: E402

from megaport.benchmark.benchmark import run_benchmark  # noqa: E402
from megaport.benchmark.options import BenchmarkOptions  # noqa: E402
from megaport.benchmark.plots import draw_plots  # noqa: E402
from megaport.generate.device import resolve_device  # noqa: E402

GPT2_345M = {"n_layer": 24, "n_head": 16, "n_embd": 1024, "n_positions": 1024, "vocab_size": 50257}
ENGINES = "eager,static,fast,llamacpp"
GRID = {
    "cpu": {"batch_sizes": (1, 4, 16), "prompt_lengths": (1, 128)},
    "cuda": {"batch_sizes": (1, 2, 4, 8, 16, 32, 64), "prompt_lengths": (1, 32, 128, 512)},
}


def main() -> None:
    given = _arguments()
    device = resolve_device(given.device).device
    options = BenchmarkOptions(
        device=given.device,
        dtypes=tuple(given.dtypes.split(",")) if given.dtypes else None,
        engines=tuple(given.engines.split(",")),
        new_tokens=given.new_tokens,
        repeats=given.repeats,
        **GRID[device],
    )
    with tempfile.TemporaryDirectory() as folder:
        model = given.model or write_synthetic(Path(folder) / "model")
        out = given.out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        path = run_benchmark(model, out, options=options)
        result = json.loads(path.read_text())
        if given.out:
            draw_plots(result, out)
        print(path.with_suffix(".txt").read_text())
        print(markdown(result))


def write_synthetic(folder: Path) -> Path:
    """Save GPT-2 345M's sizes with seeded random weights; the wide initialisation makes greedy
    texts wander, so that equal tokens mean something."""
    torch.manual_seed(0)
    config = GPT2Config(**GPT2_345M, initializer_range=0.08)
    GPT2LMHeadModel(config).half().save_pretrained(folder)
    return folder


def markdown(result: dict[str, Any]) -> str:
    """Decode speed at batch 1, prompt 1, and its ratio to `eager` of the same dtype."""
    rows = [r for r in result["rows"] if (r["workload"], r["batch"]) == ("batch", 1)]
    rates = {
        (row["engine"], row["dtype"]): row["decode_tokens_per_s"] or row["end_to_end_tokens_per_s"]
        for row in rows
        if row["status"] == "measured"
    }
    lines = ["| engine | dtype | tokens/s | 95 % interval | times eager |", "|---|---|---|---|---|"]
    for (engine, dtype), rate in rates.items():
        eager = rates.get(("eager", dtype))
        ratio = f"{rate['median'] / eager['median']:.2f}" if eager else "-"
        span = f"{rate['low']:.1f} to {rate['high']:.1f}"
        lines.append(f"| {engine} | {dtype} | {rate['median']:.1f} | {span} | {ratio} |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "cpu"))
    parser.add_argument("--dtypes", help="comma-separated; default: what is fast on the device")
    parser.add_argument("--engines", default=ENGINES, help=f"comma-separated of {ENGINES}")
    parser.add_argument("--model", type=Path, help="a model directory instead of the synthetic one")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where JSON, table and plots are left")
    return parser.parse_args()


if __name__ == "__main__":
    main()
