"""`snakemake --use-conda all` for real, by an environment that holds Snakemake alone: once, again,
with --use-conda switched off, and with results/ lost.

    PYTHONPATH=workflow:tests python tests/conda/run.py

With conda where it is installed; else with the stand-in beside this file, which py-rattler and pip
make out of this interpreter. What each proves is printed at the end.
"""

import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from support.checkout import (
    ENVIRONMENT,
    ROOT,
    SHORT,
    checkout,
    configured,
    executable,
    snakemake_alone,
)
from support.demands import call, demand, say, summary

HERE = Path(__file__).parent
PROVED = {
    "conda": "conda itself created every environment from conda-forge and PyPI",
    "the stand-in": "Snakemake's way through conda: every environment solved by a real solver of"
    " conda packages and filled from a local channel and PyPI. Not proved: the conda program, and"
    " conda-forge's own packages",
}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="megaport-conda-") as folder:
        kind, environment = conda(Path(folder))
        snakemake = snakemake_alone(Path(folder) / "alone").with_name("snakemake")
        copy = checkout(Path(folder) / "checkout")
        settings = configured(copy, {"benchmark": SHORT})

        def step(what: str, target: str, *arguments: str) -> str:
            began = time.monotonic()
            say(f"{what} ...")
            asked = ["-c2", *arguments, *settings, "--", target]
            output = call([snakemake, *asked], cwd=copy, env=environment)
            say(f"{what}: {time.monotonic() - began:.0f} s")
            return output

        built = step("snakemake --use-conda all", "all", "--use-conda")
        demand("benchmark: computed" in built and "parity: computed" in built, "all of it built")
        require_complete(copy / ".snakemake" / "conda")
        again = step("the same again", "all", "--use-conda")
        demand("Nothing to be done" in again, "nothing to be done")
        without = step("without --use-conda", "all")
        demand("Nothing to be done" in without, "nothing to be done")
        shutil.rmtree(copy / "results")
        restored = step("results/ deleted, assemble without --use-conda", "assemble")
        demand("Nothing to be done" in restored, "put back without a job")
        rest = step("the rest of it with --use-conda", "all", "--use-conda")
        demand(not re.search(r"^\w+: computed", rest, re.M), "every action a hit")
    print(f"proved with {kind}: {PROVED[kind]}")
    summary()


def conda(folder: Path) -> tuple[str, dict[str, str]]:
    """What plays conda, and the environment variables to find it by."""
    if shutil.which("conda"):
        return "conda", ENVIRONMENT
    tools = folder / "tools"
    say("no conda here: making the stand-in (py-rattler from PyPI)")
    call([sys.executable, "-m", "venv", tools])
    call([tools / "bin/python", "-m", "pip", "install", "-qr", HERE / "requirements.txt"])
    executable(
        tools / "bin/conda", f'#!/bin/sh\nexec {tools}/bin/python {HERE}/standin.py {tools} "$@"\n'
    )
    executable(tools / "bin/activate", '#!/bin/sh\nexport CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n')
    on_path = tools.parent / "bin"
    on_path.mkdir()
    (on_path / "conda").symlink_to(tools / "bin/conda")
    return "the stand-in", ENVIRONMENT | {"PATH": f"{on_path}:{os.environ['PATH']}"}


def require_complete(environments: Path) -> None:
    """Every environment answers for itself: Snakemake lends a script its own packages."""
    found = [path for path in environments.iterdir() if (path / "bin/python").exists()]
    demand(len(found) == len(list((ROOT / "envs").glob("*.yaml"))), "one environment a file")
    for path in found:
        call([path / "bin/python", "-I", "-m", "pip", "check"])
    demand(True, "nothing missing in any")


if __name__ == "__main__":
    main()
