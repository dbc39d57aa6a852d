"""The command `megaport`: look at a checkpoint, look after a store."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from megaport.checkpoint.screen import screen, to_paste
from megaport.config.model import Architecture, expanded
from megaport.config.shorthand import name_of
from megaport.errors import MegaportError
from megaport.store.tool import add_commands

# As text of a command line: the type that config.yaml asks for.
TYPES: dict[str, Callable[[str], Any]] = {
    "layer_norm_epsilon": float,
    "activation_function": str,
    "tie_word_embeddings": {"true": True, "false": False}.__getitem__,
}


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 1 where something is refused, damaged or cannot be read; 2 for bad usage."""
    given = _parser().parse_args(arguments)
    try:
        status: int = given.command(given)
        return status
    except MegaportError as error:
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
    parser.add_argument("path", help="a zip, a .pt or a checkpoint folder")
    parser.add_argument("--tensors", action="store_true", help="list every tensor as well")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--version", type=float, help="overrides checkpoint_version")
    for key in Architecture.model_fields:
        flag = f"--{key.replace('_', '-')}"
        parser.add_argument(flag, type=TYPES.get(key, int), help=f"config.yaml's {key}")
    parser.set_defaults(command=_inspect)


def _inspect(given: argparse.Namespace) -> int:
    from megaport.checkpoint.inspect import inspect  # numpy: not for those who look after a store

    path = expanded(given.path)
    said = {k: v for k in Architecture.model_fields if (v := getattr(given, k)) is not None}
    with tempfile.TemporaryDirectory() as spool:
        found = inspect(Path(path), said, version=given.version, spool=Path(spool))
    if given.json:
        print(json.dumps(found, indent=1, sort_keys=True))
        return 0
    if given.version is not None:
        said["version"] = int(given.version)
    name = name_of({"path": path}).rpartition("-")[0]
    print(screen(found, tensors=given.tensors))
    print(to_paste(found, name, str(Path(path).absolute()), said), end="")
    return 0
