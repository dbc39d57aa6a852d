"""Containers, as far as they go without an engine.

A stand-in for apptainer notes what it is asked for and runs it here: that every job goes through
the image is shown, the image itself is not.
"""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from support.checkout import PARTS, ROOT, checkout, executable, snakemake

APPTAINER = """#!/bin/sh
# exec --home HOME OPTIONS IMAGE SHELL -c COMMAND; or --version.
[ "$1" = --version ] && echo "apptainer version 1.4.0" && exit
echo "$*" >>"$CALLS"
while [ "$2" != -c ]; do shift; done
exec "$@"
"""
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)


@pytest.mark.slow
def test_every_job_goes_through_the_image(tmp_path):
    engine = executable(tmp_path / "bin" / "apptainer", APPTAINER)
    folder = checkout(tmp_path / "checkout")
    calls = tmp_path / "calls"
    path = os.pathsep.join(
        [str(engine.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    method = ["--software-deployment-method", "apptainer", "--", "checksum"]
    ran = snakemake(folder, *method, PATH=path, CALLS=str(calls))
    assert ran.status == 0, ran.text
    asked = [shlex.split(line) for line in calls.read_text().splitlines()]
    scripts = [words for words in asked if any("/scripts/" in word for word in words)]
    assert len(scripts) == 2  # download, checksum
    assert all("build/megaport.sif" in words for words in scripts)
    assert snakemake(folder, "checksum").nothing


def test_the_image_holds_what_a_checkout_needs():
    copied = {word for line in instructions("COPY") for word in line.split() if "/" not in word}
    assert set(PARTS) <= copied
    assert all((ROOT / part).exists() for part in PARTS)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_both_devices_have_their_locks(device):
    (locks,) = (line for line in instructions("COPY") if "locks/" in line)
    for lock in locks.replace("${DEVICE}", device).split()[:-1]:
        assert (ROOT / lock).is_file()
    (install,) = (line for line in instructions("RUN") if "pip install" in line)
    assert "--require-hashes" in install and "--no-cache-dir" in install


def test_the_image_is_named_exactly_and_runs_as_a_user():
    (default,) = (line for line in instructions("ARG") if line.startswith("PYTHON="))
    assert re.fullmatch(r"PYTHON=3\.11-slim-\w+", default)
    assert instructions("USER") == ["megaport"]


def test_nothing_but_what_is_copied_reaches_the_engine():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:].partition("/")[0] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert {*PARTS, "locks", "LICENSE"} == allowed
