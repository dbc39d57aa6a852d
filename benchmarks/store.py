"""What a run costs that has nothing to compute: against make, dvc, an empty workflow, cp, openssl.

    python benchmarks/store.py WORK_FOLDER [--repeats 5] [--models 1 10 100 1000] [--full-hits 100]

Prints the Markdown of docs/store-benchmark.md. The fastest of the repeats counts; CPU time is that
of the process and its children, which a busy machine changes little. dvc is installed with pip in
an environment of its own in WORK_FOLDER.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from store_peers import STEPS, lay_out  # noqa: E402

from megaport.store.stat_cache import sha256_file  # noqa: E402
from support.checkout import ENVIRONMENT, SNAKEMAKE, checkout  # noqa: E402

MODEL = "austen-tiny"
TARGET = "generate"
DVC = "dvc==3.67.1"


@dataclass(frozen=True)
class Cost:
    """Seconds of wall and CPU time, and peak resident bytes of the largest process."""

    wall: float
    cpu: float
    rss: int

    def row(self, name: str) -> str:
        return f"| {name} | {self.wall:.2f} | {self.cpu:.2f} |"


def measure(command: list[str], folder: Path) -> Cost:
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    text = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit(f"{command} failed:\n{text.decode()}")
    wall = time.perf_counter() - started
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def best(repeats: int, command: list[str], folder: Path, before: Callable[[], None]) -> Cost:
    found = []
    for _ in range(repeats):
        before()
        found.append(measure(command, folder))
    return min(found, key=lambda cost: cost.wall)


def nothing() -> None:
    """Before a run that finds everything in place."""


def remove(folder: Path) -> Callable[[], None]:
    return lambda: shutil.rmtree(folder, ignore_errors=True)


def built_checkout(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    checkout(folder)
    measure([str(SNAKEMAKE), "-c1", TARGET], folder)
    return folder


def dvc_program(work: Path) -> str:
    folder = work / "dvc-environment"
    program = folder / "bin" / "dvc"
    if not program.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", DVC], check=True)
    return str(program)


def against_peers(work: Path, ours: Path, repeats: int) -> None:
    dvc = dvc_program(work)
    peers = work / "peers"
    shutil.rmtree(peers, ignore_errors=True)
    peers.mkdir()
    source = next((ours / "resources" / MODEL).glob("*.zip"))
    lay_out(peers, ours / "results" / MODEL, source)
    snakemake = [str(SNAKEMAKE), "-c1"]
    out, results = peers / "out", ours / "results"

    def row(name: str, command: list[str], folder: Path, before: Callable[[], None]) -> None:
        print(best(repeats, command, folder, before).row(name), flush=True)

    print(f"## {len(STEPS)} steps, nothing to do\n\n| | wall s | CPU s |\n|---|---|---|")
    row("this workflow", [*snakemake, TARGET], ours, nothing)
    measure(snakemake, peers)
    row("Snakemake, the same files, empty rules", snakemake, peers, nothing)
    remove(out)()
    measure(["make", "-s"], peers)
    row("make", ["make", "-s"], peers, nothing)
    remove(out)()
    measure([dvc, "init", "-q", "--no-scm"], peers)
    measure([dvc, "repro"], peers)
    row("dvc repro", [dvc, "repro"], peers, nothing)
    print("\n## After `rm -rf` of the results\n\n| | wall s | CPU s |\n|---|---|---|")
    row("this workflow, all hits", [*snakemake, TARGET], ours, remove(results))
    row("dvc repro, from its cache", [dvc, "repro"], peers, remove(out))
    row("Snakemake, rules that only cp", snakemake, peers, remove(out))
    copy = work / "copy"
    row("cp of the results", ["cp", "-rL", str(results), str(copy)], work, remove(copy))
    script = [sys.executable, "-c", "from snakemake import script"]
    row("one start of Python as `script:` does it", script, work, nothing)


def growth(work: Path, ours: Path, counts: list[int], full_hits: int) -> None:
    print("\n## More models (convert)\n")
    print("| models | nothing to do, s | peak MB | all hits, s | jobs/s |\n|---|---|---|---|---|")
    config = yaml.safe_load((ours / "config.yaml").read_text())
    results, kept = ours / "results", work / "one-model"
    remove(kept)()
    chain = ["download.json", "checksum.json", "convert.json", "converted"]
    kept.mkdir()
    for name in chain:
        subprocess.run(["cp", "-a", results / MODEL / name, kept / name], check=True)
    for count in counts:
        names = [f"model-{number:04}" for number in range(count)]
        models = {name: config["models"][MODEL] for name in names}
        (ours / "many.yaml").write_text(yaml.safe_dump({"model": names, "models": models}))
        command = [str(SNAKEMAKE), "-c1", "convert", "--configfile", "many.yaml"]
        remove(results)()
        for name in names:
            shutil.copytree(kept, results / name, symlinks=True)
        idle = best(2, command, ours, nothing)
        line = f"| {count} | {idle.wall:.2f} | {idle.rss / 1e6:.0f} |"
        if count <= full_hits:
            remove(results)()
            hits = measure(command, ours)
            line += f" {hits.wall:.1f} | {3 * count / hits.wall:.1f} |"
        else:
            line += " | |"
        print(line, flush=True)


def hashing(work: Path, repeats: int) -> None:
    print("\n## SHA-256 of 512 MiB in the page cache\n\n| | GB/s |\n|---|---|")
    sample, size = work / "sample", 1 << 29
    with sample.open("wb") as out:
        for _ in range(size >> 20):
            out.write(os.urandom(1 << 20))
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        sha256_file(sample)
        seconds.append(time.perf_counter() - started)
    print(f"| this store | {size / min(seconds) / 1e9:.2f} |")
    command = ["openssl", "speed", "-seconds", "2", "-bytes", "262144", "-evp", "sha256"]
    rates = []
    for _ in range(repeats):
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rates.append(float(re.findall(r"([\d.]+)k", text)[-1]) / 1e6)
    print(f"| openssl speed | {max(rates):.2f} |", flush=True)
    sample.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", type=int, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--full-hits", type=int, default=100, help="up to how many models")
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    print(f"load of the machine when started: {os.getloadavg()[0]:.1f}\n", flush=True)
    ours = built_checkout(work / "checkout")
    against_peers(work, ours, given.repeats)
    hashing(work, given.repeats)
    growth(work, ours, given.models, given.full_hits)


if __name__ == "__main__":
    main()
