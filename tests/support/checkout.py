"""A checkout of the workflow in a temporary folder, and Snakemake runs in it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "config.yaml", "workflow", "profiles", "resources", "envs")
SNAKEMAKE = Path(sys.executable).parent / "snakemake"
# Compiled modules are kept, as they are for people; PYTHONPATH would bring in this checkout's.
UNWANTED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNWANTED}
SERVER = Path(__file__).with_name("snakemake_server.py")
DYING = Path(__file__).with_name("dying")
PRETENDING = Path(__file__).with_name("pretending")
MODEL = Path("results/austen-tiny")
ZIP = "resources/austen-tiny/megatron_austen_tiny_v0.0.zip"
SIZES = {"n_head": 4, "n_positions": 256, "vocab_size": 50257}
# Settings of a benchmark that is valid and short: for tests of what is around it.
SHORT = {
    "engines": ["eager"],
    "batch_sizes": [1],
    "prompt_lengths": [1],
    "new_tokens": 4,
    "repeats": 2,
}
CHAIN = {"download", "checksum", "inspect", "convert", "assemble"}  # the steps of `assemble`


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


def configured(folder: Path, settings: dict, file: str = "mine.yaml") -> list[str]:
    """The arguments that lay `settings` over config.yaml, from a file in `folder`."""
    (folder / file).write_text(yaml.safe_dump(settings))
    return ["--configfile", file]


def snakemake(folder: Path, *arguments: str, umask: int = -1, **environment: str | None) -> Ran:
    """Run `snakemake -c1 ARGUMENTS` in `folder`; None removes a variable of the environment."""
    wanted = ENVIRONMENT | environment
    done = subprocess.run(
        [SNAKEMAKE, "-c1", *arguments],
        cwd=folder,
        env={name: value for name, value in wanted.items() if value is not None},
        umask=umask,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    return Ran(done.returncode, done.stdout)


def snakemake_alone(folder: Path, *more: str) -> Path:
    """Make an environment of the pinned Snakemake (and `more`), as most have it; its bin/python."""
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    (pin,) = re.findall(r"^snakemake==\S+", pins, re.MULTILINE)
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", pin, *more], check=True)
    return python


def executable(path: Path, text: str) -> Path:
    """A program of these lines, in a folder that may be new."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def content(folder: Path) -> dict[str, bytes]:
    """Every file under results/ that must be the same wherever it is made, by name.

    Snakemake dates the folders that are outputs with a file of its own.
    """
    files = (p for p in (folder / "results").rglob("*") if p.is_file() and "run" not in p.parts)
    ours = (p for p in sorted(files) if p.name != ".snakemake_timestamp")
    return {str(p.relative_to(folder)): p.read_bytes() for p in ours}


def refuses(ran: Ran, *words: str) -> None:
    """Require that a run ended with a short error that says all of `words`."""
    assert ran.status != 0 and "Traceback" not in ran.text, ran.text
    assert "error: " in ran.text and all(word in ran.text for word in words), ran.text


class Server:
    """The same command line from a warm process: a run costs half a second less."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.process = subprocess.Popen(
            [sys.executable, SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )

    def snakemake(self, folder: Path, *arguments: str, **environment: str) -> Ran:
        """As `snakemake` above."""
        request = {
            "folder": str(folder),
            "arguments": ["-c1", *arguments],
            "environment": environment,
            "output": str(self.output),
        }
        print(json.dumps(request), file=self.process.stdin, flush=True)
        status = int(self.process.stdout.readline())
        return Ran(status, self.output.read_text())

    def die(self, folder: Path, asked: Sequence[str], at: int, who: str) -> tuple[Ran, str]:
        """Run as `asked`; what ends at its `at`-th change of the disk (see dying/): the process
        that makes it (`job`), all of them (`run`), or the change, with an error (`disk`).

        The run, and a letter for each change begun: s of Snakemake, j of jobs.
        """
        counter = folder.parent / "changes"
        counter.unlink(missing_ok=True)
        dying = {"DIE_AT": str(at), "DIE_WHO": who, "DIE_COUNT": str(counter)}
        ran = self.snakemake(folder, *asked, PYTHONPATH=str(DYING), **dying)
        return ran, counter.read_text()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)
