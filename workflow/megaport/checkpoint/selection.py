"""Which of all files at a path are the checkpoint: whose iteration, what carries the model."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from megaport.errors import MegaportError, shown_text

TRACKER = "latest_checkpointed_iteration.txt"
DEEPSPEED_TRACKER = "latest"
_TRACKERS = (TRACKER, DEEPSPEED_TRACKER)
_ITERATION = re.compile(r"release|(?:iter_|global_step)?([0-9]{1,12})")
_WEIGHTS = ("weights", "model_weights")  # NeMo 2.0's folder, and the one in a .nemo of 1.2x
_MOST_DEPTH = 4
# formats.md, "Where the tensors are"; names are relative to the iteration's directory.
_CONTENT = re.compile(
    r"""
    (mp_rank_[0-9]+(_[0-9]+){0,2}/)?(model_optim_rng|model_rng)\.pt      # Megatron, one file a rank
    | model_weights\.ckpt | (mp_rank_[0-9]+|tp_rank_[0-9]+_pp_rank_[0-9]+)/[^/]+\.ckpt   # NeMo 1.x
    | (\.metadata|[^/]+\.distcp|common\.pt|metadata\.json)             # torch_dist, torch_dcp
    | (?P<zarr>(?!optimizer\.)[^/]+/)(\.zarray|[0-9]+(\.[0-9]+)*)       # zarr: a directory a key
    | layer_[0-9]+-model_[0-9]+-model_states\.pt                        # DeepSpeed's pipeline
    | mp_rank_[0-9]+_model_states\.pt
    """,
    re.VERBOSE,
)
_LONE = re.compile(r"(?!.*(optim|rng|scheduler|training_args))[^/]+\.(pt|pth|bin|ckpt)")
# What torch_dist and zarr save beside the tensors; alone they carry no model.
_BESIDE = frozenset({"common.pt", "metadata.json"})
# Files beside a model that say what it is.
_FACTS = re.compile(
    r"(deepspeed|ds)_config\.json|(context/)?(model|model_config|hparams|run_config)\.yaml"
)
_NEMO = re.compile(r"model_config\.yaml|[^/]*(vocab\.json|merges\.txt)")


class NoCheckpointError(MegaportError):
    """A path that holds no checkpoint, or more than one with nothing to choose by."""


@dataclass(frozen=True)
class Selection:
    """What counts: `content` carries the model, `facts` say what it is; the rest is `ignored`.

    Both map the name relative to `folder` ("" or ending in "/") to the name as it was given.
    """

    folder: str
    content: Mapping[str, str]
    facts: Mapping[str, str]
    ignored: tuple[str, ...]


def select(where: str, names: Iterable[str], read: Callable[[str], bytes]) -> Selection:
    """Choose among all file names of the checkpoint called `where`; `read` gives a tracker's bytes.

    The folder is the tracker's, else the only iteration, else the path itself; those that hold
    nothing but one folder are looked into. Raises `NoCheckpointError`.
    """
    files = frozenset(names)
    folder = _folder(where, files, read)
    inside = _within(files, folder)
    content = {name: inside[name] for name in content_files(inside)}
    if not content:
        raise NoCheckpointError(
            f"{where}: {folder}",
            seen="no file that carries a model",
            expected="rank files, .distcp, zarr or layer files",
            remedy="Complete the checkpoint, or set checkpoint.path to another.",
        )
    facts = fact_files(files, folder)
    others = files.difference(content.values(), facts.values())
    ignored = (name for name in sorted(others) if name.rsplit("/", 1)[-1] not in _TRACKERS)
    return Selection(folder, content, facts, tuple(ignored))


def _folder(where: str, files: frozenset[str], read: Callable[[str], bytes]) -> str:
    folder = ""
    for _ in range(_MOST_DEPTH):
        if folder + TRACKER in files:
            return _tracked(where, folder, files, read(folder + TRACKER))
        if folder + DEEPSPEED_TRACKER in files:
            return _named(where, folder, files, _text(read(folder + DEEPSPEED_TRACKER)))
        if content_files(_within(files, folder)):
            return folder
        inside = _folders(files, folder)
        chosen = sorted(name for name in inside if name in _WEIGHTS or _ITERATION.fullmatch(name))
        if len(chosen) > 1:
            raise _ambiguous(where, chosen)
        if not chosen and len(inside) != 1:
            break
        folder += (chosen or sorted(inside))[0] + "/"
    raise NoCheckpointError(
        where,
        seen="no file that Megatron or DeepSpeed writes a model into",
        expected="an archive, a .pt, or a directory of mp_rank_*/, *.distcp, .zarray or layer_*",
        remedy="Set checkpoint.path to the checkpoint itself.",
    )


def _within(files: Iterable[str], folder: str) -> dict[str, str]:
    """Name relative to `folder` -> name, of the files in it."""
    return {name[len(folder) :]: name for name in files if name.startswith(folder)}


def _folders(files: Iterable[str], folder: str) -> set[str]:
    inside = {name.split("/")[0] for name in _within(files, folder) if "/" in name}
    return inside - {"__MACOSX"}  # Finder's copies of file attributes, in zips made on a Mac


def _tracked(where: str, folder: str, files: frozenset[str], tracker: bytes) -> str:
    text = _text(tracker)
    if text == "release":
        return _named(where, folder, files, text)
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise NoCheckpointError(
            f"{where}: {folder}{TRACKER}",
            seen=shown_text(text, 40) or "nothing",
            expected='"release" or a number',
            remedy="Write the iteration to read into it.",
        )
    found = [
        name
        for name in _folders(files, folder)
        if (match := _ITERATION.fullmatch(name)) and match[1] and int(match[1]) == int(text)
    ]
    # Megatron's own before global_step7 before 7, which it wrote before November 2019.
    usual = f"iter_{int(text):07d}"
    return _named(where, folder, files, usual if usual in found else max(found, default=usual))


def _named(where: str, folder: str, files: frozenset[str], name: str) -> str:
    if name not in _folders(files, folder):
        raise NoCheckpointError(
            where,
            seen=f"a tracker that names {shown_text(name, 40)}, which is not there",
            expected=f"the directory {folder}{shown_text(name, 40)}",
            remedy="Complete the checkpoint, or correct its tracker file.",
        )
    return f"{folder}{name}/"


def _text(tracker: bytes) -> str:
    return tracker.decode("ascii", "replace").strip()


def _ambiguous(where: str, iterations: list[str]) -> NoCheckpointError:
    return NoCheckpointError(
        where,
        seen=f"several iterations ({shown_text(', '.join(iterations[:5]), 160)}) and no {TRACKER}",
        expected="one iteration, or a tracker that says which",
        remedy=f"Set checkpoint.path to one of them, or write {TRACKER}.",
    )


def content_files(names: Iterable[str]) -> list[str]:
    """Those of the relative `names` that carry the model, sorted.

    Where none has a name that Megatron, DeepSpeed or NeMo gives, a lone `.pt`, `.bin` or `.ckpt`
    counts, unless its name says that it holds an optimizer, a scheduler or random states.
    `common.pt` and `metadata.json` count beside other files only. A name that cannot be shown as it
    is (control characters, bytes that are not UTF-8) never counts.
    """
    every = sorted(name for name in names if name.isprintable())
    arrays = {name.removesuffix(".zarray") for name in every if name.endswith("/.zarray")}
    known = [
        name
        for name in every
        if (found := _CONTENT.fullmatch(name)) and (not found["zarr"] or found["zarr"] in arrays)
    ]
    if not _BESIDE.issuperset(known):
        return known
    lone = [name for name in every if _LONE.fullmatch(name) and name not in _BESIDE]
    return lone if len(lone) == 1 else []


def fact_files(names: Collection[str], folder: str) -> dict[str, str]:
    """Name -> full name of the files that say what the model in `folder` is: configurations.

    They lie in that folder or one above it, the nearest of each name counts. The vocabulary and
    merges of a NeMo archive are among them.
    """
    above = [folder[:at] for at in range(len(folder), -1, -1) if at == 0 or folder[at - 1] == "/"]
    found: dict[str, str] = {}
    for place in above:
        inside = _within(names, place)
        kinds = (_FACTS, _NEMO) if "model_config.yaml" in inside else (_FACTS,)
        for name in sorted(inside):
            if name.isprintable() and any(kind.fullmatch(name) for kind in kinds):
                found.setdefault(name, inside[name])
    return found
