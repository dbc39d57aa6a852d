"""An environment that holds Snakemake alone: how most people have it."""

import re
import subprocess
import sys
from pathlib import Path

from support.checkout import ROOT


def snakemake_alone(folder: Path, *more: str) -> Path:
    """Make a virtual environment with the pinned Snakemake (and `more`); its bin/python."""
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    (pin,) = re.findall(r"^snakemake==\S+", pins, re.MULTILINE)
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", pin, *more], check=True)
    return python
