"""A stand-in for conda: as much of its command line as `snakemake --use-conda` calls.

It solves and installs with conda's formats and a real solver (py-rattler), from the channel of
channel.py whatever channel a file names; the `pip:` section is pip's. It is not conda.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from channel import build_channel
from rattler import install, solve

# What Snakemake asks for at least; `conda --version` prints it in conda's form.
VERSION = "24.7.1"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="conda")
    parser.add_argument("--version", action="version", version=f"conda {VERSION} (stand-in)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info").add_argument("--json", action="store_true")
    config = commands.add_parser("config")
    config.add_argument("--get", required=True)
    config.add_argument("--json", action="store_true")
    clean = commands.add_parser("clean")
    for flag in ("-y", "--tarballs", "--packages"):
        clean.add_argument(flag, action="store_true")
    create = commands.add_parser("env").add_subparsers(required=True).add_parser("create")
    create.add_argument("--quiet", action="store_true")
    create.add_argument("--no-default-packages", action="store_true")
    create.add_argument("--file", type=Path, required=True)
    create.add_argument("--prefix", type=Path, required=True)
    given = parser.parse_args(arguments)
    known = {"info": show_info, "config": show_config, "clean": clean_caches}
    known.get(given.command, create_environment)(given)


def show_info(given: argparse.Namespace) -> None:
    """`conda_prefix` is where Snakemake looks for bin/activate."""
    prefix = Path(sys.argv[1])
    print(json.dumps({"conda_prefix": str(prefix), "platform": "linux-64"}))


def show_config(given: argparse.Namespace) -> None:
    """The stand-in has one channel, so its priority is strict."""
    print(json.dumps({"get": {given.get: "strict"}}))


def clean_caches(given: argparse.Namespace) -> None:
    """Nothing to do: every `env create` drops its package cache itself."""


def create_environment(given: argparse.Namespace) -> None:
    dependencies = yaml.safe_load(given.file.read_text())["dependencies"]
    specs = [item for item in dependencies if isinstance(item, str)]
    asyncio.run(install_packages(specs, given.prefix))
    for item in dependencies:
        if isinstance(item, dict):
            install_with_pip(item["pip"], given.prefix)


async def install_packages(specs: list[str], prefix: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        channel = await build_channel(Path(folder) / "channel")
        records = await solve(sources=[channel], specs=specs)
        print(*(f"{record.name.normalized} {record.version}" for record in records), sep="\n")
        cache = Path(folder) / "cache"
        await install(records, target_prefix=prefix, cache_dir=cache, show_progress=False)


def install_with_pip(requirements: list[str], prefix: Path) -> None:
    """As conda does it, but compiling only what is imported: half the time of an install."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requirements) + "\n")
        file.flush()
        python = prefix / "bin" / "python"
        command = [python, "-m", "pip", "install", "--no-compile", "-r", file.name]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[2:])
