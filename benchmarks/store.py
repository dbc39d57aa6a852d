"""What a run costs that has nothing to compute: against make, dvc, an empty workflow, cp, openssl.

    python benchmarks/store.py WORK_FOLDER [--parts peers] [--models 1 10 100] [--full-hits 100]

Prints the Markdown of docs/maintainers/store-benchmark.md. Contenders run in turns; tables give the
least of each, verdicts the median of what each round says. CPU time is that of the process and its
children.
dvc is installed with pip in an environment of its own in WORK_FOLDER.
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
from pathlib import Path

from costs import Contender, Cost, Rounds, measure, race, table, verdict
from store_growth import growth
from store_peers import STEPS, lay_out, lay_out_scripts

from megaport.store.content import sha256_file
from support.checkout import SNAKEMAKE, checkout

MODEL = "austen-tiny"
TARGET = "generate"
DVC = "dvc==3.67.1"
IMPORTS = "from snakemake.logging import logger; from snakemake.iocontainers import Snakemake"
START = f"set -euo pipefail; {sys.executable} -c '{IMPORTS}; import snakemake.io'"
PARTS = ("peers", "hashing", "growth")
EMPTY_SCRIPTS = "Snakemake, the same files, empty scripts"


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


def laid_out(work: Path, ours: Path, first: list[str], *later: list[str]) -> Path:
    """A folder for one peer, in which its first commands have run."""
    folder = work / f"peer-{Path(first[0]).name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    source = next((ours / "resources" / MODEL).glob("*.zip"))
    lay_out(folder, ours / "results" / MODEL, source)
    for command in (first, *later):
        measure(command, folder)
    return folder


def against_peers(work: Path, ours: Path, repeats: int) -> None:
    snakemake, make, dvc = [str(SNAKEMAKE), "-c1"], ["make", "-s"], dvc_program(work)
    empty = laid_out(work, ours, snakemake)
    made = laid_out(work, ours, make)
    kept = laid_out(work, ours, [dvc, "init", "-q", "--no-scm"], [dvc, "repro"])
    results, copy, scripts = ours / "results", work / "copy", work / "peer-scripts"
    remove(scripts)()
    lay_out_scripts(scripts, ours / "results" / MODEL)
    idle = [
        Contender("this workflow", [*snakemake, TARGET], ours),
        Contender("Snakemake, the same files, empty rules", snakemake, empty),
        Contender("make", make, made),
        Contender("dvc repro", [dvc, "repro"], kept),
    ]
    cp = ["cp", "-rL", str(results), str(copy)]
    outputs = {"empty": scripts / "out", "copied": empty / "out", "kept": kept / "out"}
    restored = [
        Contender("this workflow, restored", [*snakemake, TARGET], ours, remove(results)),
        Contender("cp of the results", cp, work, remove(copy)),
        Contender("one start of Python as `script:` does it", ["bash", "-c", START], work),
        Contender(EMPTY_SCRIPTS, snakemake, scripts, remove(outputs["empty"])),
        Contender("Snakemake, rules that only cp", snakemake, empty, remove(outputs["copied"])),
        Contender("dvc repro, from its cache", [dvc, "repro"], kept, remove(outputs["kept"])),
    ]
    found = race([*idle, *restored], repeats)
    print(f"## {len(STEPS)} steps, nothing to do\n")
    table(idle, found[: len(idle)])
    print("\n## After `rm -rf` of the results\n")
    table(restored, found[len(idle) :])
    verdicts(found[: len(idle)], found[len(idle) :])


def verdicts(idle: Rounds, restored: Rounds) -> None:
    """What was asked for, as a share of what is allowed: the median of the rounds, their range."""
    print("\n## What was asked for\n")
    print("| share of what is allowed | median | rounds | |\n|---|---|---|---|")
    rounds = list(zip(*idle, *restored, strict=True))
    seen, allowed = zip(*map(nothing_to_do, rounds), strict=True)
    verdict("nothing to do, in 1.3 of Snakemake's own empty workflow", [*seen], [*allowed])
    seen, *allowances = zip(*map(restoring, rounds), strict=True)
    for allowed, what in zip(allowances, ("bare starts of Python", "empty scripts"), strict=True):
        verdict(f"restoring beyond that, in 3 cp and {len(STEPS)} {what}", [*seen], [*allowed])


def nothing_to_do(found: tuple[Cost, ...]) -> tuple[Cost, Cost]:
    """What it cost in one round, and what it may."""
    nothing, empty, *_ = found
    return nothing, 1.3 * empty


def restoring(found: tuple[Cost, ...]) -> tuple[Cost, Cost, Cost]:
    """What restoring cost beyond nothing to do; what it may, by bare starts and empty scripts."""
    nothing, empty, _, _, everything, copied, started, scripts, *_ = found
    steps, empties = len(STEPS), scripts - empty
    return everything - nothing, 3 * copied + steps * started, 3 * copied + empties


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
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", type=int, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--empty-jobs", type=int, default=100, help="up to how many models")
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    print(f"load of the machine when started: {os.getloadavg()[0]:.1f}\n", flush=True)
    ours = built_checkout(work / "checkout")
    if "peers" in given.parts:
        against_peers(work, ours, given.repeats)
    if "hashing" in given.parts:
        hashing(work, given.repeats)
    if "growth" in given.parts:
        growth(work, ours, MODEL, given.models, given.empty_jobs)


if __name__ == "__main__":
    main()
