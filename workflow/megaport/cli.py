"""The command `megaport`: look at a checkpoint, look after a store."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from megaport.checkpoint.screen import screen
from megaport.config.load import load_config
from megaport.config.model import ArchitectureKeys, expanded
from megaport.config.paste import to_paste
from megaport.errors import MegaportError
from megaport.store.upkeep import add_commands

SAID = ("version", *ArchitectureKeys.model_fields)  # config.yaml's keys that are flags here


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 1 where something is refused, damaged or cannot be read; 2 for bad usage."""
    given = _parser().parse_args(arguments)
    try:
        status: int = given.command(given)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who reads has seen enough; Python would flush once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (MegaportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="megaport", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    text = "all that is known of a checkpoint, and what to put in config.yaml"
    _add_inspect(commands.add_parser("inspect", help=text, description=text))
    text = "verify, clear or measure a store"
    store = commands.add_parser("store", help=text, description=text)
    add_commands(store)
    return parser


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="a zip, a .pt, a .nemo or a checkpoint folder")
    parser.add_argument("--tensors", action="store_true", help="list every tensor as well")
    parser.add_argument("--json", action="store_true", help="for programs")
    for key in SAID:
        flag = f"--{key.replace('_', '-')}"
        parser.add_argument(flag, metavar="VALUE", help=f"as `{key}` in config.yaml")
    parser.set_defaults(command=_inspect)


def _inspect(given: argparse.Namespace) -> int:
    from megaport.checkpoint.inspect import inspect  # numpy: not for those who look after a store

    said = {key: value for key in SAID if (value := getattr(given, key)) is not None}
    path = str(Path(expanded(given.path)).absolute())
    config = load_config({"models": {}, "checkpoint": path, **said})
    (name,) = config.names
    model = config.models[name]
    architecture = model.architecture.model_dump(exclude_none=True)
    with tempfile.TemporaryDirectory() as spool:
        version = model.checkpoint.version
        found = inspect(Path(path), architecture, version=version, spool=Path(spool))
    if given.json:
        print(json.dumps(found, indent=1, sort_keys=True))
        return 0
    print(screen(found, tensors=given.tensors))
    print(to_paste(found, name.rpartition("-")[0], model), end="")
    return 0
