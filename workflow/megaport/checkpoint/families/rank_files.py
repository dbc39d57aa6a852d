"""Rank files, mp_rank_TT[_PPP]/model_optim_rng.pt and their kin, found and checked for gaps.

Those of Megatron-LM's own model class, 2019 to 2024, have a transformer or encoder; those of core's
format `torch` a flat dictionary below `decoder`. NeMo's lie alike.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from megaport.checkpoint.architecture import table_of
from megaport.checkpoint.contents import Contents, flatten, size_said
from megaport.checkpoint.evidence import check_ranks
from megaport.checkpoint.families.names import canonical, stage_of, unwrapped, weights_beside
from megaport.checkpoint.features import refuse_features
from megaport.checkpoint.model import CORE_RANKS, LEGACY_RANKS, Parts, Stage
from megaport.errors import MegaportError
from megaport.table import Decision, Table

_MODEL = re.compile(r"model\d*|module")
_RANK = re.compile(
    r"(?P<folder>|.*/)(?:tp_rank_(?P<nemo_tp>[0-9]+)_pp_rank_(?P<nemo_pp>[0-9]+)/[^/]+\.ckpt"
    r"|mp_rank_(?P<tp>[0-9]+)(?:_(?P<pp>[0-9]+))?(?P<ep>_[0-9]+)?"
    r"(?:/(?:model_optim_rng|model_rng)\.pt|_model_states\.pt|/[^/]+\.ckpt))"
)
_MOST_NAMED = 8
State = Mapping[str, Any]
Grid = Mapping[tuple[int, int], str]  # (tensor rank, pipeline rank)
_LEGACY, _CORE = ("transformer", "encoder"), ("decoder",)  # what layers lie under


class RankFilesError(MegaportError):
    """Rank files that are missing, too many, of experts, or not of one and the same iteration."""


wrong_file = partial(
    RankFilesError, remedy="Point at the folder of one save, with all of its files."
)


def rank_names(contents: Contents) -> Grid:
    """The files that hold the model; `{}` where there are none.

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


def _refuse_gaps(contents: Contents, grid: Grid, args: Mapping[str, Any] | None) -> None:
    """`RankFilesError` for a file missing or too many of the ranks that args or names count."""
    names = ("tensor_model_parallel_size", "model_parallel_size")
    stated = names[0] if names[0] in (args or {}) else names[1]
    tensor = size_said(args, stated, max(tp for tp, _ in grid) + 1)
    pipeline = size_said(args, "pipeline_model_parallel_size", max(pp for _, pp in grid) + 1)
    size = f"{tensor} tensor-parallel x {pipeline} pipeline ranks"
    # Lazily: a hostile name or argument may claim any number of ranks.
    places = ((tp, pp) for tp in range(tensor) for pp in range(pipeline))
    absent = islice((place for place in places if place not in grid), _MOST_NAMED)
    missing = [_name_of(place, grid, pipeline) for place in absent]
    if missing:
        raise wrong_file(contents.source, f"no {', '.join(missing)}", f"the files of {size}")
    for place in sorted(p for p in grid if p[0] >= tensor or p[1] >= pipeline):
        raise wrong_file(grid[place], "a rank too many", f"the files of {size}")


def _name_of(place: tuple[int, int], grid: Grid, pipeline: int) -> str:
    like = grid[min(grid)]
    staged = pipeline > 1 or re.search(r"mp_rank_\d+_\d+/", like)
    number = f"mp_rank_{place[0]:02d}" + (f"_{place[1]:03d}" if staged else "")
    if "mp_rank_" not in like:
        return f"{number} (there is only {like})"
    return re.sub(r"mp_rank_\d+(_\d+)?", number, like, count=1)


def recognise(contents: Contents) -> Decision | None:
    """That these are rank files of Megatron core's or of Megatron-LM's own model, or None."""
    names = _names(_models(first_state(contents)))
    if any(unwrapped(name).startswith(("decoder.", "embedding.")) for name in names):
        reason = "rank files hold decoder.layers and embedding keys, as Megatron core names them"
        return Decision("family", CORE_RANKS, reason)
    if any(canonical(table_of(names), _LEGACY, name) for name in names):
        reason = f"rank files hold tensors under {_stack(names)}.layers, as Megatron-LM names them"
        return Decision("family", LEGACY_RANKS, reason)
    return None


def read(contents: Contents, family: Decision) -> Parts:
    """All stages in running order, virtual stage outer."""
    if family.value == CORE_RANKS:
        era = "2023 on: Megatron core, torch format"
        return parts_of_ranks(contents, family, era, _models, _CORE)
    state = first_state(contents)
    names = _names(_models(state))
    era = _era(names, state.get("checkpoint_version"))
    new = any(part in name for name in names for part in ("encoder.", ".self_attention."))
    return parts_of_ranks(contents, family, era, _models, _LEGACY, since_2021=new)


def parts_of_ranks(
    contents: Contents,
    family: Decision,
    era: str,
    models: Callable[[State], State],
    stacks: Sequence[str],
    *,
    since_2021: bool = True,
    iteration: str = "iteration",
) -> Parts:
    """Parts from rank files; `models` gives the virtual stages in a file's state by their keys.

    The key of a file that is a model itself is "". Layers lie under one of `stacks`; `iteration` is
    the key of its number. What args ask for beyond the table is refused before files that are
    missing.
    """
    grid, first = rank_names(contents), first_state(contents)
    keys, files = list(models(first)), grid.values()
    # Of all files: a first pipeline stage may hold the embedding and no layer.
    table = table_of(name for file in files for name in _names(models(contents.state(file))))
    args, decisions = contents.args(first)
    refuse_features(contents.source, table, args, {}, ())
    _refuse_gaps(contents, grid, args)
    check_ranks(contents, grid, table)
    for file in files:
        _refuse_uneven_chunks(file, list(models(contents.state(file))), keys)
        for beside in weights_beside(contents.state(file), keys) if "" not in keys else ():
            contents.findings.report("extra", beside, f"beside the model in {file}")
    tensor, pipeline = max(grid)
    used = {*keys, "args", "checkpoint_version", iteration}
    others = sorted(str(key) for key in first if "" not in keys and key not in used)
    return Parts(
        family=family,
        era=era,
        serialization=contents.serialization(grid[0, 0]),
        since_2021=since_2021,
        table=table,
        stages=tuple(_stages(contents, grid, table, models, keys, stacks)),
        tensor_parallel=tensor + 1,
        pipeline_parallel=pipeline + 1,
        virtual_pipeline=len(keys),
        args=args,
        stated_version=first.get("checkpoint_version"),
        stated_iteration=first.get(iteration),
        decisions=decisions,
        ignored=tuple(others),
    )


def _models(state: State) -> State:
    """`model`, or `model0`, `model1`, ... of virtual pipeline stages, or DeepSpeed's `module`."""
    found = {str(key): value for key, value in state.items() if _MODEL.fullmatch(str(key))}
    return {key: model for key, model in found.items() if isinstance(model, dict)}


def _names(models: State) -> list[str]:
    return [name for model in models.values() for name, _ in flatten(model)]


def _stack(names: list[str]) -> str:
    return "encoder" if any("encoder." in name for name in names) else "transformer"


def _era(names: list[str], version: Any) -> str:
    if not any(name.startswith("language_model.") for name in names):
        return "mid 2019: flat names"
    if _stack(names) == "transformer":
        if version is None:
            return "October 2019 to September 2020: language_model.transformer, no version"
        return "September 2020 to January 2021 (v1.1.5 to v2.0): language_model.transformer"
    if any("input_norm." in name for name in names):
        return "September 2023 on (core 0.4): language_model.encoder, input_norm"
    return "January 2021 (v2.5) to September 2023: language_model.encoder"


def _refuse_uneven_chunks(file: str, found: list[str], keys: list[str]) -> None:
    numbered = [f"model{n}" for n in range(len(keys))] if len(keys) > 1 else ["model"]
    wanted = keys if keys in (["module"], ["state_dict"], [""]) else numbered
    if sorted(found) != sorted(wanted):
        seen = f"the model under {', '.join(found) or 'no key'}"
        raise wrong_file(file, seen, ", ".join(wanted))


def _stages(
    contents: Contents,
    grid: Grid,
    table: Table,
    models: Callable[[State], State],
    keys: list[str],
    stacks: Sequence[str],
) -> Iterator[Stage]:
    for key in sorted(keys, key=lambda key: (len(key), key)):
        for stage in sorted({pipeline for _, pipeline in grid}):
            files = [grid[place] for place in sorted(grid) if place[1] == stage]
            trees = [models(contents.state(file))[key] for file in files]
            labels = [f"{file}:{key}" if len(keys) > 1 else file for file in files]
            yield stage_of(contents, labels, trees, table, stacks)
