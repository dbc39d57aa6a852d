"""requirements.txt, its digests and pyproject.toml's ranges belong together."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from support.checkout import ROOT


def pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.+]+)", (ROOT / name).read_text(), re.M)
    return {package.lower().replace("_", "-"): version for package, version in found}


WANTED = pins("requirements.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RANGES = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}


def test_every_requirement_says_why_it_is_there():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line]
    assert len(lines) == len(WANTED)
    assert [line for line in lines if not re.search(r"==\S+ +# \w+", line)] == []


@pytest.mark.parametrize("lock", ["cpu", "cuda"])
def test_locks_hold_every_pin(lock):
    locked = pins("locks/base.lock") | pins(f"locks/{lock}.lock")
    held = {name: Version(locked[name]).public for name in WANTED}
    assert held == WANTED


@pytest.mark.parametrize("lock", ["base", "cpu", "cuda"])
def test_every_locked_package_has_a_digest(lock):
    blocks = re.split(r"^(?=\w)", (ROOT / f"locks/{lock}.lock").read_text(), flags=re.M)
    packages = [block for block in blocks if "==" in block.partition("\n")[0]]
    assert packages
    assert [
        block for block in packages if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)
    ] == []


def test_both_builds_of_torch_are_listed_and_differ():
    cpu, cuda = (
        set(re.findall(r"sha256:([0-9a-f]{64})", (ROOT / f"locks/{name}.lock").read_text()))
        for name in ("cpu", "cuda")
    )
    assert len(cpu) == 1 and not cpu & cuda


def test_ranges_admit_the_pins():
    assert set(RANGES) == set(WANTED)
    assert [name for name, version in WANTED.items() if version not in RANGES[name]] == []


@pytest.mark.parametrize(("package", "version"), [("torch", "2.11.0"), ("transformers", "5.17.0")])
def test_ranges_admit_older_gpu_machines(package, version):
    assert version in RANGES[package]
