"""Time and peak memory of parity on a synthetic 345M: `python benchmarks/parity.py WORK_FOLDER`.

Random FP16 weights in NGC's form (gpt2_checkpoint.py). The reference alone and the whole of parity
run in processes of their own, whose start and imports count.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from costs import ROOT, measure
from gpt2_checkpoint import LAYERS, SAID, SIZES, make_gpt2

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.convert import convert_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="an empty folder, 3 GB free")
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--task", choices=TASKS, help="run one task in this process")
    options = parser.parse_args()
    if options.task:
        TASKS[options.task](options.work)
        return
    _prepare(options.work, options.layers)
    print("| task | seconds | CPU seconds | peak anonymous MB | peak resident MB |")
    print("|---|---|---|---|---|")
    for task in TASKS:
        cost = measure([sys.executable, __file__, str(options.work), "--task", task])
        memory = f"{cost.anonymous / 2**20:.0f} | {cost.rss / 2**20:.0f}"
        print(f"| {task} | {cost.wall:.1f} | {cost.cpu:.1f} | {memory} |", flush=True)


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


TASKS = {
    "reference, full context": lambda work: _reference(work, SIZES.n_positions),
    "reference, 32 tokens": lambda work: _reference(work, 32),
    "whole of parity": _parity,
}

if __name__ == "__main__":
    main()
