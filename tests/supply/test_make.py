"""What make says before it builds an environment."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.checkout import ROOT, executable

PRETENDING = """#!/bin/sh
case "$1" in
-V) echo Python {version} ;;
-c) exec {python} -c "import sys; sys.version_info = {info}; ${{2}}" ;;
*) echo "asked for $*"; exit 3 ;;
esac
"""


def make(folder: Path, version: tuple[int, int, int]) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.txt").touch()
    dotted = ".".join(map(str, version))
    pretending = PRETENDING.format(version=dotted, info=version, python=shutil.which("python3"))
    python = executable(folder / "python", pretending)
    # The suite itself may be run by make, which tells what it starts so, and where its own VENV is.
    alone = {
        name: value
        for name, value in os.environ.items()
        if "MAKE" not in name and name not in ("MFLAGS", "VENV")
    }
    command = ["make", "generate", f"PYTHON={python}"]
    return subprocess.run(
        command, cwd=folder, env=alone, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 8, 10), (3, 10, 12)])
def test_an_older_python_is_refused_in_one_sentence(tmp_path: Path, version: tuple[int, int, int]):
    ran = make(tmp_path, version)
    said = [line for line in ran.stderr.splitlines() if not line.startswith("make:")]
    dotted = ".".join(map(str, version))
    assert ran.returncode != 0
    assert said == [
        f"megaport needs Python 3.11 or later; {tmp_path}/python is Python {dotted}. "
        "Name another: make PYTHON=python3.12"
    ]
    assert ran.stdout == ""


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 1), (3, 14, 0), (4, 0, 0)])
def test_later_ones_are_taken(tmp_path: Path, version: tuple[int, int, int]):
    assert "asked for -m venv .venv" in make(tmp_path, version).stdout
