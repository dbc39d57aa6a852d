"""Look at a checkpoint from the command line: `python -m megaport.checkpoint.command PATH`."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.inspect import inspection, render
from megaport.checkpoint.open import open_checkpoint
from megaport.errors import MegaportError


def main(arguments: list[str] | None = None) -> int:
    """Print what a checkpoint is, as a table or JSON; 1 and a message where it is refused."""
    parser = argparse.ArgumentParser(prog="megaport inspect", description=__doc__)
    parser.add_argument("path", type=Path, help="a zip, a .pt or a checkpoint folder")
    parser.add_argument("--n-head", type=int, help="where the checkpoint holds no args")
    parser.add_argument("--version", type=float, help="overrides checkpoint_version")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args(arguments)
    heads = {} if given.n_head is None else {"n_head": given.n_head}
    try:
        with tempfile.TemporaryDirectory() as spool:
            checkpoint = open_checkpoint(given.path, version=given.version, spool=Path(spool))
            found = inspection(checkpoint, describe_architecture(checkpoint, heads))
    except MegaportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found, indent=1, sort_keys=True) if given.json else render(found), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
