"""Conda environments: requirements.txt's pins, nothing that a script needs left out."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from megaport.steps import STEPS
from support.checkout import ROOT
from support.imports import WORKFLOW, files_of, imports

ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
# What a machine may have beside them; measured or read only where it is installed.
OPTIONAL = {"gguf", "llama_cpp", "pynvml", "s3fs", "fsspec", "triton"}
CALLED = {"pyyaml": "yaml"}  # the package, and what it is imported as
BROUGHT = {"cycler"}  # by matplotlib, whose styles are made of it

OURS_AND_PYTHONS = {"megaport", "adapter", *sys.stdlib_module_names}


def packages(path: Path) -> dict[str, str]:
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    pip = next(item["pip"] for item in dependencies if isinstance(item, dict))
    return dict(line.split("==") for line in pip)


def environment_of(rule: str) -> Path:
    text = (WORKFLOW / "rules" / f"{rule}.smk").read_text()
    names = set(re.findall(r"envs/(\w+\.yaml)", text))
    assert len(names) == 1, f"{rule} names {names}"
    return ROOT / "envs" / names.pop()


def packages_reached(path: Path, seen: set[Path], calls: bool) -> set[str]:
    """The packages of others that a file of ours imports, however deep.

    `calls`: the script calls functions of the library that import more. The report's reads files.
    """
    found = set()
    for name in imports(path, lazy=calls or path.stem == "report"):
        ours = files_of(name, WORKFLOW / "scripts" if name == "adapter" else WORKFLOW)
        for file in set(ours) - seen:
            seen.add(file)
            found |= packages_reached(file, seen, calls)
        if not ours and name.partition(".")[0] not in OURS_AND_PYTHONS:
            found.add(name.partition(".")[0])
    return found


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_pins_are_those_of_requirements(path):
    given = packages(path)
    assert {name: PINS.get(name) for name in given} == given


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_channel_is_conda_forge_alone(path):
    assert yaml.safe_load(path.read_text())["channels"] == ["conda-forge"]


@pytest.mark.parametrize("rule", [*STEPS, "report"])
def test_environment_has_what_the_script_reaches(rule):
    script = WORKFLOW / "scripts" / f"{rule}.py"
    reached = packages_reached(script, set(), calls=rule != "report")
    named = packages(environment_of(rule))
    given = {CALLED.get(name, name.replace("-", "_")) for name in named}
    assert sorted(reached - OPTIONAL - BROUGHT - given) == []


def test_conversion_needs_no_torch():
    assert not {"torch", "transformers"} & set(packages(ROOT / "envs" / "convert.yaml"))
