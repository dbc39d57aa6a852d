"""Which files of a checkpoint carry its model, given all file names: whose iteration, which."""

import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from megaport.errors import MegaportError

TRACKER = "latest_checkpointed_iteration.txt"
DEEPSPEED_TRACKER = "latest"
_ITERATION = re.compile(r"release|(?:iter_|global_step)(\d+)")
_MOST_DEPTH = 4
# formats.md, "Where the tensors are"; names are relative to the iteration's directory.
_CONTENT = re.compile(
    r"""
    (mp_rank_\d+(_\d+){0,2}/)?(model_optim_rng|model_rng)\.pt   # Megatron, one file a rank
    | (\.metadata|[^/]+\.distcp|common\.pt|metadata\.json)      # torch_dist, torch_dcp
    | (?P<zarr>(?!optimizer\.)[^/]+/)(\.zarray|\d+(\.\d+)*)               # zarr: a directory a key
    | layer_\d+-model_\d+-model_states\.pt                      # DeepSpeed's pipeline
    | mp_rank_\d+_model_states\.pt
    """,
    re.VERBOSE,
)
_LONE = re.compile(r"(?!.*(optim|rng|scheduler))[^/]+\.pt")


class NoCheckpointError(MegaportError):
    """A path that holds no checkpoint, or more than one with nothing to choose by."""


def select(where: str, names: Iterable[str], read: Callable[[str], bytes]) -> str:
    """The folder to read, "" or ending in "/": the tracker's, else the only iteration, else itself.

    `read` gives the bytes of a tracker. Folders that hold nothing but one folder are looked into.
    Raises `NoCheckpointError`.
    """
    files = frozenset(names)
    folder = ""
    for _ in range(_MOST_DEPTH):
        if folder + TRACKER in files:
            return _tracked(where, folder, files, read(folder + TRACKER))
        if folder + DEEPSPEED_TRACKER in files:
            return _named(where, folder, files, _text(where, read(folder + DEEPSPEED_TRACKER)))
        if content_files(_within(files, folder)):
            return folder
        inside = _folders(files, folder)
        iterations = sorted(name for name in inside if _ITERATION.fullmatch(name))
        if len(iterations) > 1:
            raise _ambiguous(where, iterations)
        if not iterations and len(inside) != 1:
            break
        folder += (iterations or sorted(inside))[0] + "/"
    raise NoCheckpointError(
        where,
        seen="no file that Megatron or DeepSpeed writes a model into",
        expected="a zip, a .pt, or a directory with mp_rank_*/, *.distcp, .zarray or layer_* files",
        remedy="Set checkpoint.path to the checkpoint itself.",
    )


def _within(files: Iterable[str], folder: str) -> list[str]:
    return [name[len(folder) :] for name in files if name.startswith(folder)]


def _folders(files: Iterable[str], folder: str) -> set[str]:
    inside = _within(files, folder)
    # Finder's copies of file attributes, in zips that were made on a Mac.
    return {name.split("/")[0] for name in inside if "/" in name} - {"__MACOSX"}


def _tracked(where: str, folder: str, files: frozenset[str], tracker: bytes) -> str:
    text = _text(where, tracker)
    if text == "release":
        return _named(where, folder, files, text)
    if not re.fullmatch(r"\d{1,12}", text):
        raise NoCheckpointError(
            f"{where}: {folder}{TRACKER}",
            seen=repr(text[:40]),
            expected='"release" or a number',
            remedy="Write the iteration to read into it.",
        )
    for kind in ("iter_", "global_step"):
        found = sorted(
            name
            for name in _folders(files, folder)
            if name.startswith(kind) and name[len(kind) :].isdigit()
            if int(name[len(kind) :]) == int(text)
        )
        if found:
            return f"{folder}{found[0]}/"
    return _named(where, folder, files, f"iter_{int(text):07d}")


def _named(where: str, folder: str, files: frozenset[str], name: str) -> str:
    if "/" in name or PurePosixPath(name).name != name or name not in _folders(files, folder):
        raise NoCheckpointError(
            where,
            seen=f"a tracker that names {name[:40]!r}, which is not there",
            expected=f"the directory {folder}{name[:40]}",
            remedy="Complete the checkpoint, or correct its tracker file.",
        )
    return f"{folder}{name}/"


def _text(where: str, tracker: bytes) -> str:
    return tracker[:4096].decode("ascii", "replace").strip()


def _ambiguous(where: str, iterations: list[str]) -> NoCheckpointError:
    return NoCheckpointError(
        where,
        seen=f"several iterations ({', '.join(iterations[:5])}) and no {TRACKER}",
        expected="one iteration, or a tracker that says which",
        remedy=f"Set checkpoint.path to one of them, or write {TRACKER}.",
    )


def content_files(names: Iterable[str]) -> list[str]:
    """Those of the relative `names` that carry the model, sorted.

    Where none has a name that Megatron or DeepSpeed gives, a lone `.pt` counts, unless its name
    says that it holds an optimizer, a scheduler or random states.
    """
    every = sorted(names)
    arrays = {name.removesuffix(".zarray") for name in every if name.endswith("/.zarray")}
    known = [
        name
        for name in every
        if (found := _CONTENT.fullmatch(name)) and (not found["zarr"] or found["zarr"] in arrays)
    ]
    lone = [name for name in every if _LONE.fullmatch(name)]
    return known or (lone if len(lone) == 1 else [])
