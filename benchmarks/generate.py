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
import tempfile
from pathlib import Path
from typing import Any

import costs  # noqa: F401 - puts the library on the path
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from megaport.benchmark.benchmark import PATIENCE_S, run_benchmark
from megaport.benchmark.summary import decoded, speed
from megaport.config.model import Benchmark
from megaport.generate.device import resolve_device

GPT2_345M = {"n_layer": 24, "n_head": 16, "n_embd": 1024, "n_positions": 1024, "vocab_size": 50257}
ENGINES = "eager,static,fast,llamacpp"
GRID = {
    "cpu": {"batch_sizes": [1, 4, 16], "prompt_lengths": [1, 128]},
    "cuda": {"batch_sizes": [1, 2, 4, 8, 16, 32, 64], "prompt_lengths": [1, 32, 128, 512]},
}


def main() -> None:
    given = _arguments()
    device = resolve_device(given.device).device
    options = Benchmark(
        device=given.device,
        dtypes=given.dtypes.split(",") if given.dtypes else None,
        engines=given.engines.split(","),
        new_tokens=given.new_tokens,
        repeats=given.repeats,
        **GRID[device],
    )
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), given, options)


def run(
    folder: Path, given: argparse.Namespace, options: Benchmark, patience_s: float = PATIENCE_S
) -> Path:
    """Measure the model given, else a synthetic one in `folder`; print all of it, return which."""
    model = given.model or write_synthetic(folder / "model")
    out = given.out or folder
    out.mkdir(parents=True, exist_ok=True)
    path = run_benchmark(model, out, options=options, patience_s=patience_s)
    result = json.loads(path.read_text())
    print(path.with_suffix(".txt").read_text())
    print(markdown(result), flush=True)
    if given.out:
        draw(result, out)
    return Path(model)


def draw(result: dict[str, Any], out: Path) -> None:
    """The pictures, where matplotlib is: figures that a card gave shall not be lost without it."""
    try:
        from megaport.benchmark.plots import draw_plots
    except ImportError as error:
        print(f"no pictures: {error}; pip install matplotlib")
    else:
        draw_plots(result, out)


def write_synthetic(folder: Path) -> Path:
    """Save GPT-2 345M's sizes with seeded random weights; the wide initialisation makes greedy
    texts wander, so that equal tokens mean something."""
    torch.manual_seed(0)
    config = GPT2Config(**GPT2_345M, initializer_range=0.08)
    GPT2LMHeadModel(config).half().save_pretrained(folder)
    return folder


def markdown(result: dict[str, Any]) -> str:
    """Every measured row, with its ratio to `eager` at the same work and its share of the limit."""
    copy = result["copy_bytes_per_s"]["median"]
    rows = [row for row in decoded(result["rows"]) if row["workload"] != "card"]
    rates = {_work(row): speed(row) for row in rows if row["engine"] == "eager"}
    lines = [
        "| engine | dtype | batch | prompt | tokens/s | times eager | first token, ms | of copy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rate, eager = speed(row), rates.get(_work(row))
        first, read = row["first_token_s"]["median"], row["achieved_bytes_per_s"]["median"]
        cells = [row["engine"], row["dtype"], row["batch"], row["prompt"], f"{rate:,.1f}"]
        cells += [
            f"{rate / eager:.2f}" if eager else "-",
            f"{1e3 * first:.1f}",
            f"{read / copy:.0%}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _work(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["dtype"], row["batch"], row["prompt"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "cpu"))
    parser.add_argument("--dtypes", help="comma-separated; default: what `dtype: auto` takes")
    parser.add_argument("--engines", default=ENGINES, help=f"comma-separated of {ENGINES}")
    parser.add_argument("--model", type=Path, help="a model directory instead of the synthetic one")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where JSON, table and plots are left")
    return parser.parse_args()


if __name__ == "__main__":
    main()
