"""The same chain of steps and files as make, dvc and an empty Snakemake workflow see it."""

import json
import shutil
from pathlib import Path

import yaml

STEPS = ("download", "checksum", "inspect", "convert", "assemble", "generate")
READS = {
    "checksum": ["download"],
    "inspect": ["checksum"],
    "convert": ["checksum", "inspect"],
    "assemble": ["inspect", "convert"],
    "generate": ["assemble"],
}


def outputs(built: Path, step: str) -> list[str]:
    """The files of a step, its receipt first, relative to the model's folder."""
    receipt = json.loads((built / f"{step}.json").read_text())
    return [f"{step}.json", *(name for name in receipt["outputs"] if not name.startswith("@"))]


def lay_out(folder: Path, built: Path, source: Path) -> None:
    """A folder whose steps copy what the real ones made, for all three tools."""
    shutil.copytree(built, folder / "built")
    shutil.copyfile(source, folder / "source.zip")
    _dvc(folder, built)
    _make(folder, built)
    _snakefile(folder, built)


def _inputs(step: str) -> list[str]:
    return [f"out/{name}.json" for name in READS.get(step, [])] or ["source.zip"]


def _copy(built: Path, step: str) -> str:
    files = outputs(built, step)
    folders = sorted({str((Path("out") / name).parent) for name in files})
    copies = [f"cp built/{name} out/{name}" for name in files]
    return " && ".join([f"mkdir -p {' '.join(folders)}", *copies])


def _dvc(folder: Path, built: Path) -> None:
    stages = {
        step: {
            "cmd": _copy(built, step),
            "deps": _inputs(step),
            "outs": [f"out/{name}" for name in outputs(built, step)],
        }
        for step in STEPS
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))


def _make(folder: Path, built: Path) -> None:
    rules = [
        f"{' '.join(f'out/{name}' for name in outputs(built, step))} &: "
        f"{' '.join(_inputs(step))}\n\t{_copy(built, step)}\n"
        for step in STEPS
    ]
    goal = f"all: {' '.join(f'out/{step}.json' for step in STEPS)}\n"
    (folder / "Makefile").write_text(goal + "\n".join(rules))


def _snakefile(folder: Path, built: Path, *, scripts: bool = False) -> None:
    """Its rules copy the files, or start a script each that makes them empty."""
    goal = "rule all:\n    input: " + ", ".join(f'"out/{step}.json"' for step in STEPS)
    rules = [
        f"rule {step}:\n"
        f"    input: {', '.join(repr(name) for name in _inputs(step))}\n"
        f"    output: {', '.join(repr(f'out/{name}') for name in outputs(built, step))}\n"
        + ("    script: 'empty.py'" if scripts else f"    shell: {_copy(built, step)!r}")
        for step in STEPS
    ]
    (folder / "Snakefile").write_text("\n\n".join([goal, *rules]) + "\n")


def lay_out_scripts(folder: Path, built: Path) -> None:
    """The same steps and files for Snakemake, made by scripts that do nothing else."""
    folder.mkdir()
    (folder / "source.zip").touch()
    (folder / "empty.py").write_text(EMPTY_SCRIPT)
    _snakefile(folder, built, scripts=True)


EMPTY_SCRIPT = """from pathlib import Path

for name in snakemake.output:
    Path(name).touch()
"""
EMPTY = {
    "download": (None, ["download.json"]),
    "checksum": ("download.json", ["checksum.json"]),
    "inspect": (
        "checksum.json",
        ["inspect.json", "inspection/inspection.json", "inspection/inspection.txt"],
    ),
    "convert": (
        "inspect.json",
        ["convert.json", "converted/config.json", "converted/model.safetensors"],
    ),
}


def lay_out_empty(folder: Path, count: int) -> None:
    """The chain to `convert` for `count` models, all of it made, by scripts that do nothing."""
    folder.mkdir()
    (folder / "empty.py").write_text(EMPTY_SCRIPT)
    rules = [f"rule all:\n    input: expand('results/{{m}}/convert.json', m=range({count}))"]
    for name, (read, made) in EMPTY.items():
        source = f"    input: 'results/{{m}}/{read}'\n" if read else ""
        outputs = [f"results/{{m}}/{file}" for file in made]
        rules.append(f"rule {name}:\n{source}    output: {outputs}\n    script: 'empty.py'")
        for file in made:
            for model in range(count):
                path = folder / "results" / str(model) / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    (folder / "Snakefile").write_text("\n\n".join(rules) + "\n")
