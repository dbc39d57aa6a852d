"""A conda channel on disk with two packages: this interpreter, and the pip beside it.

conda-forge cannot be reached from everywhere; an environment that takes nothing but `python` and
`pip` from it resolves against this channel just as well.
"""

import io
import json
import sys
import tarfile
from collections.abc import Iterator, Mapping
from importlib.metadata import distribution
from pathlib import Path

from rattler.index import index_fs
from rattler.platform import Subdir

VERSION = ".".join(map(str, sys.version_info[:3]))
MINOR = ".".join(map(str, sys.version_info[:2]))
SITE = f"lib/python{MINOR}/site-packages"


async def build_channel(folder: Path) -> str:
    """Write and index the channel under `folder`; return its URL."""
    subdir = folder / str(Subdir.current())
    (folder / "noarch").mkdir(parents=True, exist_ok=True)
    subdir.mkdir(exist_ok=True)
    write_package(subdir, "python", VERSION, [], dict(python_files()))
    pip = distribution("pip")
    write_package(subdir, "pip", pip.version, ["python"], dict(pip_files(pip)))
    await index_fs(folder, force=True)
    return folder.as_uri()


def python_files() -> Iterator[tuple[str, bytes]]:
    """A virtual environment's layout: the binary, and where the standard library is."""
    binary = Path(sys.executable).resolve()
    yield f"bin/python{MINOR}", binary.read_bytes()
    # Without the second line the interpreter's own packages would fill in for missing ones.
    settings = f"home = {binary.parent}\ninclude-system-site-packages = false\n"
    yield "pyvenv.cfg", settings.encode()


def pip_files(pip: object) -> Iterator[tuple[str, bytes]]:
    for file in pip.files or ():
        path = Path(pip.locate_file(file))
        if path.is_file() and ".." not in file.parts and "__pycache__" not in file.parts:
            yield f"{SITE}/{file.as_posix()}", path.read_bytes()


def write_package(
    folder: Path, name: str, version: str, depends: list[str], files: Mapping[str, bytes]
) -> None:
    """Write `<name>-<version>-0.tar.bz2`, conda's older package format."""
    index = {
        "name": name, "version": version, "build": "0", "build_number": 0,
        "depends": depends, "subdir": folder.name,
    }  # fmt: skip
    links = {"bin/python": f"python{MINOR}"} if name == "python" else {}
    info = {
        "info/index.json": json.dumps(index).encode(),
        "info/files": "".join(f"{path}\n" for path in [*files, *links]).encode(),
    }
    path = folder / f"{name}-{version}-0.tar.bz2"
    with tarfile.open(path, "w:bz2", compresslevel=1) as archive:
        for member, content in {**info, **files}.items():
            archive.addfile(_member(member, len(content)), io.BytesIO(content))
        for member, target in links.items():
            link = _member(member, 0)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o755 if name.startswith("bin/") else 0o644
    return member
