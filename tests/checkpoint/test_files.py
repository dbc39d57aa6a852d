"""The list of a checkpoint's files needs nothing but the standard library."""

import subprocess
import sys
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "workflow"
LIST = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from megaport.checkpoint.files import source_files
print(*source_files(Path(sys.argv[2])))
"""


def test_the_files_of_a_checkpoint_are_listed_by_the_standard_library(tmp_path: Path) -> None:
    rank = tmp_path / "release/mp_rank_00/model_optim_rng.pt"
    rank.parent.mkdir(parents=True)
    rank.write_bytes(b"\x80")
    bare = [sys.executable, "-I", "-S", "-c", LIST, str(LIBRARY)]
    for path, names in ((tmp_path, "mp_rank_00/model_optim_rng.pt"), (rank, "checkpoint")):
        found = subprocess.run([*bare, str(path)], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == names
