"""Many models: `convert` for each (four steps), against as many empty jobs of a bare Snakemake."""

import shutil
import subprocess
from pathlib import Path

import yaml
from costs import Contender, Cost, least, measure, race
from store_peers import EMPTY, lay_out_empty

from support.checkout import SNAKEMAKE


def growth(work: Path, ours: Path, model: str, counts: list[int], empty_jobs: int) -> None:
    """Two lines for each count: this workflow, and the same files from empty scripts; those only up
    to `empty_jobs` models, as they take minutes."""
    print(f"\n## More models (`convert`, {len(EMPTY)} steps each)\n")
    print(
        "| models | | nothing to do, wall s | CPU s | peak MB | from the store or by jobs, wall s |"
    )
    print("|---|---|---|---|---|---|")
    kept = _one_model(work / "one-model", ours / "results" / model)
    verdicts = []
    for count in counts:
        pair = [_this(ours, kept, model, count), _empty(work / "empty", count)]
        nothing, empty = (least(costs) for costs in race(pair, 3))
        restored = _all_again(pair[0])
        jobs = _all_again(pair[1]) if count <= empty_jobs else None
        print(_row(count, pair[0].name, nothing, restored), flush=True)
        print(_row(count, pair[1].name, empty, jobs), flush=True)
        verdicts.append(
            f"- {count} models: nothing to do, {nothing.wall / empty.wall:.2f} of an empty "
            f"Snakemake's wall time (CPU {nothing.cpu / empty.cpu:.2f}; asked 1.3); restored in "
            f"{restored.wall - nothing.wall:.1f} s beyond that (asked {0.06 * count:.1f})"
        )
    print("\n" + "\n".join(verdicts))


def _one_model(kept: Path, built: Path) -> Path:
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    files = (file for _, made in EMPTY.values() for file in made)
    for name in {Path(file).parts[0] for file in files}:
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
    return Contender("this workflow", command, ours)


def _empty(folder: Path, count: int) -> Contender:
    shutil.rmtree(folder, ignore_errors=True)
    lay_out_empty(folder, count)
    return Contender("Snakemake, empty scripts", [str(SNAKEMAKE), "-c1"], folder)


def _all_again(contender: Contender) -> Cost:
    shutil.rmtree(contender.folder / "results")
    return measure(contender.command, contender.folder)


def _row(count: int, name: str, nothing: Cost, again: Cost | None) -> str:
    row = f"| {count} | {name} | {nothing} | {nothing.rss / 1e6:.0f} |"
    return row + (f" {again.wall:.2f} |" if again else " |")
