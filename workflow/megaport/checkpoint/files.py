"""What lies on disk at a path: the files that carry the model, by name. Standard library only."""

import os
from pathlib import Path

from megaport.checkpoint.content_files import content_files
from megaport.checkpoint.regions import map_file
from megaport.checkpoint.selection import NoCheckpointError, select

_MOST_FILES = 1_000_000


def source_files(path: Path) -> dict[str, Path]:
    """Name -> path of the files on disk behind `path`; a zip or a `.pt` is one, "checkpoint".

    Cheap: nothing is opened but trackers. Raises `NoCheckpointError`, `UnreadableFileError`.
    """
    if path.is_dir():
        _, inside, wanted = content_paths(path)
        return {name: inside[name] for name in wanted}
    map_file(path)
    return {"checkpoint": path}


def content_paths(root: Path) -> tuple[str, dict[str, Path], list[str]]:
    """The folder selected, its files by name, and the names of those that carry the model."""
    paths = _walk(root)
    folder = select(str(root), paths, lambda name: bytes(map_file(paths[name]).view[:4096]))
    inside = {name[len(folder) :]: paths[name] for name in paths if name.startswith(folder)}
    wanted = content_files(inside)
    if not wanted:
        raise NoCheckpointError(
            str(root / folder),
            seen="no file that carries a model",
            expected="rank files, .distcp, zarr or layer files",
            remedy="Complete the checkpoint, or set checkpoint.path to another.",
        )
    return folder, inside, wanted


def _walk(root: Path) -> dict[str, Path]:
    """Relative POSIX name -> path of every file under `root`."""
    found: dict[str, Path] = {}
    entered: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()  # a link to a directory around it
            continue
        entered.add((status.st_dev, status.st_ino))
        for file in files:
            path = Path(folder) / file
            found[path.relative_to(root).as_posix()] = path
        if len(found) > _MOST_FILES:
            raise NoCheckpointError(
                str(root),
                seen=f"over {_MOST_FILES} files",
                expected="a checkpoint's directory",
                remedy="Set checkpoint.path to the checkpoint itself.",
            )
    return found
