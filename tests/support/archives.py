"""Members of archives that look like NGC's and NeMo's, and folders."""

import io
import tarfile
from collections.abc import Mapping
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


def tree(root: Path, **files: bytes) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def tarred(
    files: Mapping[str, bytes],
    *extra: tarfile.TarInfo,
    form: int = tarfile.PAX_FORMAT,
    mode: str = "w:",
    mtime: float = 1.5,
) -> bytes:
    """A tar as NeMo writes it: names that start with "./", a folder, times with fractions."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:
        root = tarfile.TarInfo("./")
        root.type = tarfile.DIRTYPE
        archive.addfile(root)
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mtime = len(content), mtime
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return file.getvalue()
