"""Our conversion, transformers 4.47.1's script and the floor of the disk, on one synthetic 345M.

    python benchmarks/convert.py WORK_FOLDER [--repeats 3] [--without-script]
    python benchmarks/convert.py WORK_FOLDER --llama [--repeats 3]

The zip holds random FP16 weights in NGC's form (legacy serialization, stored, no args). Each
contestant runs in a process of its own, in turn, in every repeat; the fastest time counts, and
anonymous memory is sampled from /proc. Prints the Markdown of
docs/maintainers/convert-benchmark.md. The script needs an environment of its own, which is built in
WORK_FOLDER with pip (5 GB, once; tests/parity/build_old_environment.py).

`--llama`: Megatron core's torch_dist with a Llama 3's sizes, beside torch.distributed.checkpoint
and save_file at 4 layers (4 GB), and alone at the 32 of an 8B (16 GB, in shards of 5 GB).
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from costs import ROOT, Cost, least, measure, run
from gpt2_checkpoint import LAYERS, make_gpt2

from megaport.convert.export import export_checkpoint

SCRIPT = "transformers.models.megatron_gpt2.convert_megatron_gpt2_checkpoint"
BUILD_SCRIPTS = ROOT / "tests" / "parity" / "build_old_environment.py"
TOKENIZER = "openai-community/gpt2"  # the script loads it by this name; a folder of it will do
BARE = [sys.executable, "-c", "import time; time.sleep(0.1)"]

CONVERT = """
import sys
from pathlib import Path
from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.open import open_checkpoint
from megaport.checkpoint.files import digest_files
from megaport.convert.convert import convert_checkpoint
source, out = Path(sys.argv[1]), Path(sys.argv[2])
if sys.argv[3] == "checksum":
    digest_files(source, spool=out.parent)
checkpoint = open_checkpoint(source, spool=out.parent)
said = {} if sys.argv[3] == "llama" else {"n_head": 16, "vocab_size": 50257}
limit = 5 * 10**9 if sys.argv[3] == "llama" else None
architecture = describe_architecture(checkpoint, said)
convert_checkpoint(checkpoint, architecture, out, dtype=None, max_shard_size=limit)
"""
DCP_SAVE_FILE = """
import sys
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
reader = dcp.FileSystemReader(sys.argv[1])
described = reader.read_metadata().state_dict_metadata
state = {k: torch.empty(v.size, dtype=v.properties.dtype) for k, v in described.items()}
dcp.load(state, storage_reader=reader, no_dist=True)
save_file(state, sys.argv[2])
"""
TORCH_SAVE_FILE = """
import sys, argparse, time
import torch
from safetensors.torch import save_file
started = time.perf_counter()
with torch.serialization.safe_globals([argparse.Namespace]):
    state = torch.load(sys.argv[1], mmap=True, weights_only=True)["model"]
tensors = {name: tensor for name, tensor in state.items() if tensor is not None}
save_file(tensors, sys.argv[2])
print(time.perf_counter() - started)
"""


Script = Callable[[Path, Path], Cost]
Rows = list[tuple[str, list[Cost]]]


def convert(source: Path, out: Path, mode: str = "convert") -> Cost:
    shutil.rmtree(out, ignore_errors=True)
    path = str(ROOT / "workflow")
    command = [sys.executable, "-c", CONVERT, source, out, mode]
    return measure(command, environment={"PYTHONPATH": path})


def floor(sources: Iterable[Path], out: Path) -> Cost:
    """`cp`, and SHA-256 of what was read and of what was written: one after the other."""
    out.unlink(missing_ok=True)
    started = time.perf_counter()
    for source in sources:
        subprocess.run(["cp", "--sparse=never", source, out], check=True)
        for path in (source, out):
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")
    return Cost(time.perf_counter() - started, 0, 0, 0)


def llama(work: Path, repeats: int) -> Rows:
    """Rows of the table for torch_dist, the floor's first."""
    from llama_checkpoint import make_llama

    four, whole = (make_llama(work / f"llama-{n}", n) for n in (4, 32))
    copied, theirs, ours = [], [], []
    for _ in range(repeats):
        copied.append(floor(sorted(four.glob("*/*.distcp")), work / "copy"))
        folder = next(four.glob("iter_*"))
        theirs.append(measure([sys.executable, "-c", DCP_SAVE_FILE, folder, work / "saved"]))
        ours.append(convert(four, work / "out", "llama"))
    for left in ("copy", "saved"):
        (work / left).unlink()
    return [
        ("floor: `cp`, SHA-256 of what is read and written, 4 layers", copied),
        ("convert, 4 layers", ours),
        ("torch.distributed.checkpoint.load + save_file, 4 layers, no digest", theirs),
        ("convert, 32 layers (8B, 16 GB)", [convert(whole, work / "out", "llama")]),
    ]


def script_runner(work: Path) -> Script:
    """The 4.47.1 script in an environment of its own, offline, with the tokenizer it asks for."""
    environment = work / "transformers-4.47.1"
    python = environment / "bin" / "python"
    if not (environment / "ready").exists():
        subprocess.run([sys.executable, BUILD_SCRIPTS, environment], check=True)
        (environment / "ready").touch()
    tokenizer = work / TOKENIZER
    tokenizer.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(ROOT / "resources" / "gpt2" / name, tokenizer)
    (tokenizer / "config.json").write_text('{"model_type": "gpt2"}')

    def script(source: Path, out: Path) -> Cost:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        (out / source.name).hardlink_to(source)
        # In `work` the tokenizer's name is a folder.
        return measure([python, "-m", SCRIPT, out / source.name], work, {"HF_HUB_OFFLINE": "1"})

    return script


def torch_formats(work: Path, converted: Path, repeats: int) -> Rows:
    """A core `torch` checkpoint of the same weights: ours against torch.load and save_file."""
    folder = work / "core"
    if not folder.exists():
        export_checkpoint(converted, folder, form="core")
    theirs, inside, ours = [], [], []
    for _ in range(repeats):
        file = folder / "release" / "mp_rank_00" / "model_optim_rng.pt"
        cost, seconds = run([sys.executable, "-c", TORCH_SAVE_FILE, file, work / "saved"])
        theirs.append(cost)
        inside.append(Cost(float(seconds), 0, 0, 0))
        ours.append(convert(folder, work / "out"))
    return [
        ("torch.load(mmap=True) + save_file, no transposes, no digest", theirs),
        ("the same without starting Python and importing torch", inside),
        ("convert, from Megatron core's torch format", ours),
    ]


def gpt2(work: Path, repeats: int, script: Script | None) -> Rows:
    """Rows of the table for NGC's form and Megatron core's torch format, the floor's first."""
    source = make_gpt2(work / "345m.zip")
    copied, ours, checked, old = [], [], [], []
    for _ in range(repeats):
        copied.append(floor([source], work / "copy"))
        ours.append(convert(source, work / "out"))
        checked.append(convert(source, work / "out", "checksum"))
        if script:
            old.append(script(source, work / "script"))
    torch_rows = torch_formats(work, work / "out", repeats)
    tall = convert(make_gpt2(work / "4x.zip", 4 * LAYERS), work / "out")
    return [
        ("floor: `cp`, SHA-256 of what is read and written", copied),
        ("convert (writes and digests)", ours),
        ("checksum of the input, then convert", checked),
        *([("transformers 4.47.1's script", old)] if script else []),
        *torch_rows,
        (f"convert, {4 * LAYERS} layers", [tall]),
    ]


def table(rows: Rows, interpreter: float) -> str:
    """Markdown, of the least of each; the first row is the floor."""
    head = "| | seconds | times the floor | anonymous memory, MB | beyond the interpreter |"
    lines = [head, "|---|---|---|---|---|"]
    shortest = least(rows[0][1]).wall
    for name, costs in rows:
        cost = least(costs)
        memory = cost.anonymous / 2**20
        known = f"{memory:.0f} | {memory - interpreter:.0f}" if memory else " | "
        lines.append(f"| {name} | {cost.wall:.2f} | {cost.wall / shortest:.2f} | {known} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("work", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without-script", action="store_true")
    parser.add_argument("--llama", action="store_true")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    interpreter = measure(BARE).anonymous / 2**20
    if options.llama:
        rows = llama(work, options.repeats)
    else:
        script = None if options.without_script else script_runner(work)
        rows = gpt2(work, options.repeats, script)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}\n")
    print(table(rows, interpreter))


if __name__ == "__main__":
    main()
