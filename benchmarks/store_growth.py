"""Many models: `convert` for each (three jobs), against as many empty jobs of a bare Snakemake."""

import shutil
import subprocess
from pathlib import Path

import yaml
from store_costs import Contender, Cost, least, measure, race
from store_peers import lay_out_empty

from support.checkout import SNAKEMAKE

CHAIN = ["download.json", "checksum.json", "convert.json", "converted"]
JOBS = 3


def growth(work: Path, ours: Path, model: str, counts: list[int], full_hits: int) -> None:
    """Two lines for each count: this workflow, and the same files from empty scripts."""
    print(f"\n## More models (`convert`, {JOBS} jobs each)\n")
    print(
        "| models | | nothing to do, wall s | CPU s | peak MB | all jobs, wall s | CPU s | jobs/s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    kept = _one_model(work / "one-model", ours / "results" / model)
    for count in counts:
        pair = [_this(ours, kept, model, count), _empty(work / "empty", count)]
        for contender, costs in zip(pair, race(pair, 2), strict=True):
            nothing = least(costs)
            jobs = _all_jobs(contender) if count <= full_hits else None
            print(_row(count, contender.name, nothing, jobs), flush=True)


def _one_model(kept: Path, built: Path) -> Path:
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for name in CHAIN:
        subprocess.run(["cp", "-a", built / name, kept / name], check=True)
    return kept


def _this(ours: Path, kept: Path, model: str, count: int) -> Contender:
    """This workflow with `count` models in place, all of them the same."""
    config = yaml.safe_load((ours / "config.yaml").read_text())
    names = [f"model-{number:04}" for number in range(count)]
    models = {name: config["models"][model] for name in names}
    (ours / "many.yaml").write_text(yaml.safe_dump({"model": names, "models": models}))
    shutil.rmtree(ours / "results", ignore_errors=True)
    for name in names:
        shutil.copytree(kept, ours / "results" / name, symlinks=True)
    command = [str(SNAKEMAKE), "-c1", "convert", "--configfile", "many.yaml"]
    return Contender("this workflow, hits", command, ours)


def _empty(folder: Path, count: int) -> Contender:
    shutil.rmtree(folder, ignore_errors=True)
    lay_out_empty(folder, count)
    return Contender("Snakemake, empty scripts", [str(SNAKEMAKE), "-c1"], folder)


def _all_jobs(contender: Contender) -> Cost:
    shutil.rmtree(contender.folder / "results")
    return measure(contender.command, contender.folder)


def _row(count: int, name: str, nothing: Cost, jobs: Cost | None) -> str:
    row = f"| {count} | {name} | {nothing} | {nothing.rss / 1e6:.0f} |"
    return row + (f" {jobs} | {JOBS * count / jobs.wall:.1f} |" if jobs else " | | |")
