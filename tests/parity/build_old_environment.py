"""Build the old converter's environment: `python tests/parity/build_old_environment.py FOLDER`.

transformers 4.47.1 is the last release with convert_megatron_gpt2_checkpoint.py. Prints the
interpreter to name in MEGAPORT_OLD_TRANSFORMERS; then
`pytest -m slow tests/parity/test_old_script.py`.
"""

import argparse
import subprocess
import venv
from pathlib import Path

# torch is this project's own pin: the script's model code never runs, only its tensor shuffling.
PINS = ("transformers==4.47.1", "torch==2.13.0", "numpy<3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.absolute()
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PINS], check=True)
    print(f"export MEGAPORT_OLD_TRANSFORMERS={python}")


if __name__ == "__main__":
    main()
