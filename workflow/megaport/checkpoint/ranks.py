"""Rank files: mp_rank_TT[_PPP]/model_optim_rng.pt and their kin, found and checked for gaps."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from megaport.checkpoint.contents import Contents, plain_args
from megaport.checkpoint.features import refuse_features
from megaport.checkpoint.stages import size_said
from megaport.errors import MegaportError
from megaport.table import Table

_RANK = re.compile(
    r"(?P<folder>|.*/)(?:tp_rank_(?P<nemo_tp>[0-9]+)_pp_rank_(?P<nemo_pp>[0-9]+)/[^/]+\.ckpt"
    r"|mp_rank_(?P<tp>[0-9]+)(?:_(?P<pp>[0-9]+))?(?P<ep>_[0-9]+)?"
    r"(?:/(?:model_optim_rng|model_rng)\.pt|_model_states\.pt|/[^/]+\.ckpt))"
)
_MOST_NAMED = 8


class RankFilesError(MegaportError):
    """Rank files that are missing, too many, of experts, or not of one and the same iteration."""


wrong_file = partial(
    RankFilesError, remedy="Point at the folder of one save, with all of its files."
)


@dataclass(frozen=True)
class Ranks:
    """`files[tensor rank, pipeline rank]` is a complete grid of file names."""

    files: Mapping[tuple[int, int], str]
    tensor: int
    pipeline: int
    args: Mapping[str, Any] | None


def rank_names(contents: Contents) -> dict[tuple[int, int], str]:
    """The files that hold the model, by (tensor, pipeline) rank; `{}` where there are none.

    A lone file of any name is rank (0, 0). Folders of a distributed optimizer that are named
    like pipeline ranks hold no such file, so they do not count.
    """
    matches = {name: _RANK.fullmatch(name) for name in contents.files}
    found = {name: match for name, match in matches.items() if match}
    if not found and len(contents.files) == 1:
        return dict.fromkeys([(0, 0)], next(iter(contents.files)))
    grid: dict[tuple[int, int], str] = {}
    for name in sorted(found):
        match = found[name]
        if match["ep"]:
            raise wrong_file(
                name, "a third number, an expert's rank", "no mixture of experts (MoE)"
            )
        place = (int(match["tp"] or match["nemo_tp"]), int(match["pp"] or match["nemo_pp"] or 0))
        if place in grid:
            raise wrong_file(contents.source, f"{grid[place]} and {name}", "one file a rank")
        grid[place] = name
    return grid


def first_state(contents: Contents) -> dict[str, Any]:
    """What the first of the rank files holds; nothing where there are none."""
    names = rank_names(contents)
    return contents.state(names[min(names)]) if names else {}


def load_ranks(contents: Contents, table: Table, args: Mapping[str, Any] | None = None) -> Ranks:
    """The grid of rank files, which `args`, the file's own or the names say the size of.

    `RankFilesError` names the file that is missing, one too many or of another run; a mixture of
    experts is refused as `UnsupportedModelError`.
    """
    grid = rank_names(contents)
    first = grid[min(grid)]
    args = args or plain_args(contents.state(first).get("args"))
    if args:
        refuse_features(contents.source, table, args, {}, ())
    names = ("tensor_model_parallel_size", "model_parallel_size")
    stated = names[0] if names[0] in (args or {}) else names[1]
    tensor = size_said(args, stated, max(tp for tp, _ in grid) + 1)
    pipeline = size_said(args, "pipeline_model_parallel_size", max(pp for _, pp in grid) + 1)
    _refuse_gaps(contents, grid, tensor, pipeline)
    return Ranks(grid, tensor, pipeline, args)


def _refuse_gaps(
    contents: Contents, grid: Mapping[tuple[int, int], str], tensor: int, pipeline: int
) -> None:
    size = f"{tensor} tensor-parallel x {pipeline} pipeline ranks"
    # Lazily: a hostile name or argument may claim any number of ranks.
    places = ((tp, pp) for tp in range(tensor) for pp in range(pipeline))
    absent = islice((place for place in places if place not in grid), _MOST_NAMED)
    missing = [_name_of(place, grid, pipeline) for place in absent]
    if missing:
        raise wrong_file(contents.source, f"no {', '.join(missing)}", f"the files of {size}")
    for place in sorted(p for p in grid if p[0] >= tensor or p[1] >= pipeline):
        raise wrong_file(grid[place], "a rank too many", f"the files of {size}")


def _name_of(place: tuple[int, int], grid: Mapping[tuple[int, int], str], pipeline: int) -> str:
    like = grid[min(grid)]
    staged = pipeline > 1 or re.search(r"mp_rank_\d+_\d+/", like)
    number = f"mp_rank_{place[0]:02d}" + (f"_{place[1]:03d}" if staged else "")
    if "mp_rank_" not in like:
        return f"{number} (there is only {like})"
    return re.sub(r"mp_rank_\d+(_\d+)?", number, like, count=1)
