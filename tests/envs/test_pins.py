"""Conda environments: requirements.txt's pins, nothing that a script needs left out."""

import re

import pytest
import yaml

from megaport.plan.plan import RULES
from megaport.store.code import closure
from megaport.store.software import OBSERVERS
from support.checkout import ROOT

ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
# What a machine may have beside them; measured or read only where it is installed.
OPTIONAL = {"gguf", "llama_cpp", "pynvml"}


def packages(path) -> dict[str, str]:
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    pip = next(item["pip"] for item in dependencies if isinstance(item, dict))
    return dict(line.split("==") for line in pip)


def import_names(path) -> set[str]:
    return {name.replace("-", "_") for name in packages(path)}


def environment_of(rule: str):
    text = (ROOT / "workflow" / "rules" / f"{rule}.smk").read_text()
    names = set(re.findall(r"envs/(\w+\.yaml)", text))
    assert len(names) == 1, f"{rule} names {names}"
    return ROOT / "envs" / names.pop()


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_pins_are_those_of_requirements(path):
    given = packages(path)
    assert {name: PINS.get(name) for name in given} == given


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_channel_is_conda_forge_alone(path):
    assert yaml.safe_load(path.read_text())["channels"] == ["conda-forge"]


@pytest.mark.parametrize("rule", [*RULES, "report"])
def test_environment_has_what_the_script_reaches(rule):
    _, reached = closure(ROOT / "workflow" / "scripts" / f"{rule}.py")
    given = import_names(environment_of(rule))
    shows = {"requests", "tqdm", "urllib3"} & reached
    needed = (reached - OBSERVERS - OPTIONAL) | (shows - {"urllib3"})
    assert sorted(needed - given) == []


def test_conversion_needs_no_torch():
    assert not {"torch", "transformers"} & set(packages(ROOT / "envs" / "convert.yaml"))
