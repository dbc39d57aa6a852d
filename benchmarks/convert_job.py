"""What `convert` costs as a job of Snakemake: the 345M's, a tiny model's taken off, and the floor.

    python benchmarks/convert_job.py WORK_FOLDER [--repeats 5]

The floor is `cp` of the same zip and SHA-256 of what is read and written; it does not wait for the
disk, the job does. In every repeat floor and jobs run in turn, each job computed anew (-R). Prints
the Markdown of docs/maintainers/convert-benchmark.md.
"""

import argparse
import os
import shutil
import statistics
from pathlib import Path

import yaml
from costs import Cost, measure
from gpt2_checkpoint import make_gpt2

from convert import floor
from support.checkout import SNAKEMAKE, checkout

TINY, LARGE = "austen-tiny", "large"


def laid_out(work: Path, source: Path) -> Path:
    """A checkout whose config knows both models, what comes before `convert` made."""
    folder = work / "job-checkout"
    shutil.rmtree(folder, ignore_errors=True)
    checkout(folder)
    numbers = {"n_head": 16, "vocab_size": 50257}
    large = {"checkpoint": {"path": str(source)}, "architecture": numbers}
    (folder / "large.yaml").write_text(yaml.safe_dump({"models": {LARGE: large}}))
    for model in (TINY, LARGE):
        convert(folder, model)
    return folder


def convert(folder: Path, model: str, *options: str) -> Cost:
    config = ["--configfile", "large.yaml", "--config", f"model={model}"]
    return measure([SNAKEMAKE, "-c1", "convert", *config, *options], folder)


def touch_memory(path: Path, size: int) -> None:
    """A virtual machine gets memory from its host at the first touch (6 s for a GB, seen on one):
    whoever comes next finds `size` bytes touched, so that none pays for it."""
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    path.unlink()
    os.sync()


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    source = make_gpt2(work / "345m.zip")
    folder, again = laid_out(work, source), ("-R", "convert_model")
    print("| floor, s | the 345M's job, s | a tiny one's, s | their difference, of the floor |")
    print("|---|---|---|---|")
    shares = []
    for _ in range(given.repeats):
        tiny = convert(folder, TINY, *again).wall
        touch_memory(work / "touched", 3 * source.stat().st_size)
        least = floor([source], work / "copy").wall
        touch_memory(work / "touched", 3 * source.stat().st_size)
        large = convert(folder, LARGE, *again).wall
        shares.append((large - tiny) / least)
        print(f"| {least:.2f} | {large:.2f} | {tiny:.2f} | {shares[-1]:.2f} |", flush=True)
    print(f"\nmedian {statistics.median(shares):.2f} (asked 1.3)")


if __name__ == "__main__":
    main()
