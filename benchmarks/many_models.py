"""Many small models at once: jobs a second from nothing, from a full store, with nothing to do.

    python benchmarks/many_models.py WORK_FOLDER [--models 1 4 16 64] [--arguments='-c2' | --slurm]

Builds `assemble` for so many variants of the bundled model (each with an epsilon of its own, so
that none is another's cache hit after the checksum): five jobs a model. With --slurm through the
one-node Slurm that `make test-slurm` starts and ends (as root, on Debian). Prints Markdown for
docs/use/scaling.md.
"""

import argparse
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import yaml
from costs import ROOT, measure

sys.path.insert(0, str(ROOT / "tests" / "slurm"))

from daemons import one_node_slurm
from run import CHECKPOINT, QUICK, environment

from support.checkout import checkout

TARGET = "assemble"
JOBS_A_MODEL = 5  # download, checksum, inspect, convert, assemble


def main() -> None:
    parser = argparse.ArgumentParser(description="Jobs a second over many small models.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--arguments", default="-c2", help="for Snakemake")
    way.add_argument("--slurm", action="store_true", help="on a Slurm of one node")
    given = parser.parse_args()
    here = [sys.executable, "-m", "snakemake", *shlex.split(given.arguments)]
    print("| models | jobs | built, s | jobs/s | restored, s | jobs/s | nothing to do, s |")
    print("|---|---|---|---|---|---|---|")
    with slurm(given.folder) if given.slurm else nullcontext(here) as command:
        for count in given.models:
            print(row(given.folder / f"models-{count}", count, command), flush=True)


@contextmanager
def slurm(folder: Path) -> Iterator[list[str]]:
    """Snakemake's command line for a Slurm that lives while the block runs."""
    python = environment(folder / "tools")
    with one_node_slurm(folder / "slurm"):
        yield [str(python), "-m", "snakemake", "--profile", "profiles/slurm", *QUICK]


def row(copy: Path, count: int, command: list[str]) -> str:
    """Three runs over so many models, in a checkout of their own with an empty store."""
    prepare(copy, count)
    built = run(copy, command)
    shutil.rmtree(copy / "results")
    restored, nothing = run(copy, command), run(copy, command)
    shutil.rmtree(copy)
    jobs = count * JOBS_A_MODEL
    return (
        f"| {count} | {jobs} | {built:.1f} | {jobs / built:.1f} "
        f"| {restored:.1f} | {jobs / restored:.1f} | {nothing:.1f} |"
    )


def prepare(copy: Path, count: int) -> None:
    checkout(copy)
    models = {f"model-{number:02}": variant(number) for number in range(count)}
    settings = yaml.safe_dump({"model": list(models), "models": models})
    (copy / "many.yaml").write_text(settings)


def variant(number: int) -> dict[str, object]:
    epsilon = {"layer_norm_epsilon": 1e-5 + number * 1e-9}
    return CHECKPOINT | {"architecture": CHECKPOINT["architecture"] | epsilon}


def run(copy: Path, command: list[str]) -> float:
    """Wall seconds of one run that ended well."""
    return measure([*command, "--configfile", "many.yaml", "--", TARGET], copy).wall


if __name__ == "__main__":
    main()
