"""Members of archives that look like NGC's."""

from pathlib import Path

from megaport.checkpoint.files import Files, open_files
from support.pickles import pickle, text
from support.zips import File

CONTENT = pickle(text("weights"))
MODEL = b"release/mp_rank_00/model_optim_rng.pt"
TRACKER = File(b"latest_checkpointed_iteration.txt", b"release\n")
GOOD = File(MODEL, CONTENT)
DEFLATED = File(MODEL, CONTENT * 100, method=8)


def opened(data: bytes, folder: Path) -> Files:
    path = folder / "model.zip"
    path.write_bytes(data)
    return open_files(path, spool=folder / "spool")
