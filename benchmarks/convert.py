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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from gpt2_checkpoint import LAYERS, make_gpt2  # noqa: E402

from megaport.convert.export import export_checkpoint  # noqa: E402

SCRIPT = "transformers.models.megatron_gpt2.convert_megatron_gpt2_checkpoint"
BUILD_SCRIPTS = ROOT / "tests" / "parity" / "build_old_environment.py"
TOKENIZER = "openai-community/gpt2"  # the script loads it by this name; a folder of it will do
SAMPLE_SECONDS = 0.005
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


@dataclass
class Cost:
    """The fastest of the runs so far, in seconds, and the most anonymous memory, in MB."""

    seconds: float = float("inf")
    memory: float = 0.0

    def include(self, seconds: float, memory: float = 0.0) -> None:
        self.seconds = min(self.seconds, seconds)
        self.memory = max(self.memory, memory)


Script = Callable[[Cost, Path, Path], None]


def run(cost: Cost, command: list[str | Path], **environment: str) -> str:
    """Run to the end, sampling RssAnon (proc_pid_status(5)); its standard output."""
    started, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        lines = status.read_text().splitlines()
        peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))])
        time.sleep(SAMPLE_SECONDS)
    cost.include(time.perf_counter() - started, peak / 1024)
    output, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}:\n{errors}")
    return output


def convert(cost: Cost, source: Path, out: Path, mode: str = "convert") -> None:
    shutil.rmtree(out, ignore_errors=True)
    path = str(ROOT / "workflow")
    run(cost, [sys.executable, "-c", CONVERT, source, out, mode], PYTHONPATH=path)


def floor(cost: Cost, sources: Iterable[Path], out: Path) -> None:
    """`cp`, and SHA-256 of what was read and of what was written: one after the other."""
    out.unlink(missing_ok=True)
    started = time.perf_counter()
    for source in sources:
        subprocess.run(["cp", "--sparse=never", source, out], check=True)
        for path in (source, out):
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")
    cost.include(time.perf_counter() - started)


def llama(work: Path, repeats: int) -> list[tuple[str, Cost]]:
    """Rows of the table for torch_dist, the floor's first."""
    from llama_checkpoint import make_llama

    four, whole = (make_llama(work / f"llama-{n}", n) for n in (4, 32))
    least, theirs, ours, tall = (Cost() for _ in range(4))
    for _ in range(repeats):
        floor(least, sorted(four.glob("*/*.distcp")), work / "copy")
        folder = next(four.glob("iter_*"))
        run(theirs, [sys.executable, "-c", DCP_SAVE_FILE, folder, work / "saved"])
        convert(ours, four, work / "out", "llama")
    for left in ("copy", "saved"):
        (work / left).unlink()
    convert(tall, whole, work / "out", "llama")
    return [
        ("floor: `cp`, SHA-256 of what is read and written, 4 layers", least),
        ("convert, 4 layers", ours),
        ("torch.distributed.checkpoint.load + save_file, 4 layers, no digest", theirs),
        ("convert, 32 layers (8B, 16 GB)", tall),
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

    def script(cost: Cost, source: Path, out: Path) -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        (out / source.name).hardlink_to(source)
        os.chdir(work)  # where the tokenizer's name is a folder
        run(cost, [python, "-m", SCRIPT, out / source.name], HF_HUB_OFFLINE="1")

    return script


def torch_formats(work: Path, converted: Path, repeats: int) -> Iterator[tuple[str, Cost]]:
    """A core `torch` checkpoint of the same weights: ours against torch.load and save_file."""
    folder = work / "core"
    if not folder.exists():
        export_checkpoint(converted, folder, form="core")
    theirs, inside, ours = Cost(), Cost(), Cost()
    for _ in range(repeats):
        file = folder / "release" / "mp_rank_00" / "model_optim_rng.pt"
        seconds = run(theirs, [sys.executable, "-c", TORCH_SAVE_FILE, file, work / "saved"])
        inside.include(float(seconds))
        convert(ours, folder, work / "out")
    yield "torch.load(mmap=True) + save_file, no transposes, no digest", theirs
    yield "the same without starting Python and importing torch", inside
    yield "convert, from Megatron core's torch format", ours


def gpt2(work: Path, repeats: int, script: Script | None) -> list[tuple[str, Cost]]:
    """Rows of the table for NGC's form and Megatron core's torch format, the floor's first."""
    source = make_gpt2(work / "345m.zip")
    least, ours, checked, old, tall = (Cost() for _ in range(5))
    for _ in range(repeats):
        floor(least, [source], work / "copy")
        convert(ours, source, work / "out")
        convert(checked, source, work / "out", "checksum")
        if script:
            script(old, source, work / "script")
    torch_rows = list(torch_formats(work, work / "out", repeats))
    convert(tall, make_gpt2(work / "4x.zip", 4 * LAYERS), work / "out")
    return [
        ("floor: `cp`, SHA-256 of what is read and written", least),
        ("convert (writes and digests)", ours),
        ("checksum of the input, then convert", checked),
        *([("transformers 4.47.1's script", old)] if script else []),
        *torch_rows,
        (f"convert, {4 * LAYERS} layers", tall),
    ]


def table(rows: list[tuple[str, Cost]], interpreter: float) -> str:
    """Markdown; the first row is the floor."""
    head = "| | seconds | times the floor | anonymous memory, MB | beyond the interpreter |"
    lines = [head, "|---|---|---|---|---|"]
    for name, cost in rows:
        ratio = f"{cost.seconds / rows[0][1].seconds:.2f}"
        known = (f"{cost.memory:.0f}", f"{cost.memory - interpreter:.0f}")
        memory = " | ".join(known if cost.memory else ("", ""))
        lines.append(f"| {name} | {cost.seconds:.2f} | {ratio} | {memory} |")
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
    bare = Cost()
    run(bare, BARE)
    if options.llama:
        rows = llama(work, options.repeats)
    else:
        script = None if options.without_script else script_runner(work)
        rows = gpt2(work, options.repeats, script)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}\n")
    print(table(rows, bare.memory))


if __name__ == "__main__":
    main()
