"""Every command that README and docs show is run, but for those that need what a test has not."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from docs.test_pages import PAGES
from support.checkout import ROOT, executable

# A part of a command, and what it needs that is not here.
ELSEWHERE = {
    "^make ": "builds environments; CI runs the targets",
    "pip install": "a network",
    "megatron-gpt2-345m": "a network",
    "NGC_API_KEY": "an account",
    "docker ": "Docker; what it does is in docs/use/scaling.md",
    "apptainer": "apptainer",
    "profiles/slurm": "a cluster; `make test-slurm` brings one",
    "benchmarks/card.py": "a card",
    "benchmarks/generate.py": "a quiet machine for minutes",
    "model_signing": "model-signing, which is no requirement",
}
SLOW = re.compile(r"snakemake .*\b(all|generate|parity|benchmark|report)\b")
# What a reader would put in: the bundled checkpoint stands for the reader's.
BUNDLED = ROOT / "resources" / "austen-tiny" / "megatron_austen_tiny_v0.0.zip"
OWN = {
    "/data/model_optim_rng.pt": str(BUNDLED),
    "/data/megatron_lm_345m_v0.0.zip": str(BUNDLED),
    "n_head=16": "n_head=4",
    "megatron-gpt2-345m": "austen-tiny",
}
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def blocks(page: Path, *languages: str) -> list[str]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for _, language, text in found if language in languages]


def commands():
    """(page, command) of every line of bash, once each, comments and continuations put away."""
    seen = set()
    for page in PAGES:
        for block in blocks(page, "bash", "sh"):
            for line in re.sub(r"\\\n", " ", block).splitlines():
                command = " ".join(shlex.split(line, comments=True, posix=False))
                if command and command not in seen:
                    seen.add(command)
                    slow = [pytest.mark.slow] if SLOW.match(command) else []
                    name = f"{page.relative_to(ROOT)}: {command}"
                    yield pytest.param(page, command, id=name, marks=slow)


def is_elsewhere(command: str) -> bool:
    return any(re.search(part, command) for part in ELSEWHERE)


COMMANDS = list(commands())


@pytest.mark.parametrize(
    ("page", "command"), [case for case in COMMANDS if not is_elsewhere(case.values[1])]
)
def test_a_command_that_is_shown_works(built, tmp_path, page, command):
    for block in blocks(page, "yaml"):
        if block.startswith("# mine.yaml"):
            (built / "mine.yaml").write_text(own(block))
    # As `pip install .` would put it there.
    program = f'#!/bin/sh\nexec "{sys.executable}" -m megaport "$@"\n'
    path = [
        executable(tmp_path / "bin" / "megaport", program).parent,
        Path(sys.executable).parent,
        os.environ["PATH"],
    ]
    environment = os.environ | {
        "PATH": ":".join(map(str, path)),
        "PYTHONPATH": str(ROOT / "workflow"),
    }
    ran = subprocess.run(
        own(command), shell=True, cwd=built, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout


def own(text: str) -> str:
    for shown, real in OWN.items():
        text = text.replace(shown, real)
    return text


@pytest.mark.parametrize(
    "command", [case.values[1] for case in COMMANDS if is_elsewhere(case.values[1])]
)
def test_a_command_that_cannot_run_here_names_what_exists(command):
    """At least it is well formed, and files and make targets that it names are there."""
    assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0
    words = shlex.split(command)
    files = [word for word in words if re.match(r"(profiles|locks|requirements)\b", word)]
    assert [file for file in files if not (ROOT / file).exists()] == []
    if words[0] == "make":
        targets = (ROOT / "Makefile").read_text()
        assert re.search(rf"^{words[1]}:", targets, re.MULTILINE)


def test_every_reason_is_needed():
    shown = [case.values[1] for case in COMMANDS]
    assert [part for part in ELSEWHERE if not any(re.search(part, c) for c in shown)] == []


def test_the_python_of_the_readme_loads_the_model(built):
    (program,) = blocks(ROOT / "README.md", "python")
    program += (
        'print(tokenizer.decode(model.generate(**tokenizer("Emma", return_tensors="pt"))[0]))'
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=built, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Emma") and len(done.stdout) > 20
