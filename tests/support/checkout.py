"""A checkout of the workflow in a temporary folder, and Snakemake runs in it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "config.yaml", "workflow", "profiles", "resources", "envs")
SNAKEMAKE = Path(sys.executable).parent / "snakemake"


@dataclass(frozen=True)
class Ran:
    """A finished Snakemake run: exit status, everything it printed, and which bodies it ran."""

    status: int
    text: str

    @property
    def computed(self) -> set[str]:
        return set(re.findall(r"^(\w+): computed", self.text, re.MULTILINE))

    @property
    def hits(self) -> set[str]:
        return set(re.findall(r"^(\w+): cache hit", self.text, re.MULTILINE))

    @property
    def nothing(self) -> bool:
        return "Nothing to be done" in self.text


def checkout(folder: Path, source: Path = ROOT) -> Path:
    """Copy what the workflow is made of from `source` into `folder`; return it."""
    folder.mkdir(parents=True)
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(
                source / part, folder / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(source / part, folder / part)
    return folder


def snakemake(folder: Path, *arguments: str, **environment: str) -> Ran:
    """Run `snakemake -c1 ARGUMENTS` in `folder` through its command line."""
    done = subprocess.run(
        [SNAKEMAKE, "-c1", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    return Ran(done.returncode, done.stdout)
