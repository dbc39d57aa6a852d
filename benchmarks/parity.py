"""Time and peak memory of parity on a synthetic 345M: `python benchmarks/parity.py WORK_FOLDER`.

Random FP16 weights in NGC's form (gpt2_checkpoint.py). The reference alone and the whole of parity
run in processes of their own; memory is sampled from /proc.
"""

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

import numpy as np  # noqa: E402
from gpt2_checkpoint import LAYERS, SAID, SIZES, make_gpt2  # noqa: E402

from megaport.checkpoint.architecture import describe_architecture  # noqa: E402
from megaport.checkpoint.open import open_checkpoint  # noqa: E402
from megaport.convert.convert import convert_checkpoint  # noqa: E402

SAMPLE_SECONDS = 0.02
TASKS = ("reference, full context", "reference, 32 tokens", "whole of parity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="an empty folder, 3 GB free")
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--task", choices=TASKS, help="run one task in this process")
    options = parser.parse_args()
    if options.task:
        print(json.dumps(_measured(options.task, options.work)))
        return
    _prepare(options.work, options.layers)
    print("| task | seconds | CPU seconds | peak anonymous MB | peak resident MB |")
    print("|---|---|---|---|---|")
    for task in TASKS:
        command = [sys.executable, __file__, str(options.work), "--task", task]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {task} | {row['seconds']:.1f} | {row['cpu']:.1f} "
            f"| {row['anonymous']:.0f} | {row['resident']:.0f} |",
            flush=True,
        )


def _measured(task: str, work: Path) -> dict[str, float]:
    run = {
        TASKS[0]: lambda: _reference(work, SIZES.n_positions),
        TASKS[1]: lambda: _reference(work, 32),
        TASKS[2]: lambda: _parity(work),
    }[task]
    peak = {"RssAnon": 0.0, "VmRSS": 0.0}
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(peak, done))
    watcher.start()
    start, cpu = time.perf_counter(), time.process_time()
    try:
        run()
    finally:
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        done.set()
        watcher.join()
    return {
        "seconds": seconds,
        "cpu": cpu,
        "anonymous": peak["RssAnon"] / 1024,
        "resident": peak["VmRSS"] / 1024,
    }


def _watch(peak: dict[str, float], done: threading.Event) -> None:
    while not done.wait(SAMPLE_SECONDS):
        for line in Path("/proc/self/status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key in peak:
                peak[key] = max(peak[key], float(value.split()[0]))


def _opened(work: Path) -> tuple[Any, Any]:
    checkpoint = open_checkpoint(work / "345m.zip", spool=work)
    return checkpoint, describe_architecture(checkpoint, SAID)


def _reference(work: Path, length: int) -> None:
    from megaport.parity.references import reference_of

    ids = np.random.default_rng(0).integers(SIZES.vocab_size, size=(1, length))
    reference_of(*_opened(work)).logits(ids)


def _parity(work: Path) -> None:
    from megaport.parity.inputs import ParityOptions
    from megaport.parity.parity import run_parity

    options = ParityOptions(text=ROOT / "resources" / "parity" / "text.txt", device="cpu")
    run_parity(*_opened(work), work / "model", work / "parity", options=options)


def _prepare(work: Path, layers: int) -> None:
    """work/345m.zip and work/model, its conversion with GPT-2's vocabulary."""
    if (work / "model").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    make_gpt2(work / "345m.zip", layers)
    convert_checkpoint(*_opened(work), work / "model", dtype=None, max_shard_size=None)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(ROOT / "resources" / "gpt2" / name, work / "model")


if __name__ == "__main__":
    main()
