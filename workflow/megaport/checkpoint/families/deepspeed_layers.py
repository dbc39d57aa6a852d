"""Megatron-DeepSpeed's pipeline format: layer_II-model_TT-model_states.pt, a file a module.

BigScience's fork and deepspeedai's number the files differently, so what a file is follows from
what it holds.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from megaport.checkpoint.architecture import table_of
from megaport.checkpoint.contents import Contents, flatten, plain_args, size_said
from megaport.checkpoint.evidence import check_agreement
from megaport.checkpoint.families.names import stage_of, unwrapped, weights_beside
from megaport.checkpoint.families.rank_files import wrong_file
from megaport.checkpoint.model import DEEPSPEED_LAYERS, Parts
from megaport.table import FINAL_NORM, HEAD, Decision, Table
from megaport.tensors import Tensor

_LAYER = re.compile(r"(?:|.*/)layer_(?P<layer>\d+)-model_(?P<tp>\d+)-model_states\.pt")
_STATES = re.compile(r"(?:|.*/)mp_rank_\d+_model_states\.pt")
Grid = Mapping[tuple[int, int], str]  # (file index, tensor rank)


def recognise(contents: Contents) -> Decision | None:
    """That these are DeepSpeed's layer files, or None."""
    count = sum(1 for name in contents.files if _LAYER.fullmatch(name))
    reason = f"{count} files are named layer_II-model_TT-model_states.pt"
    return Decision("family", DEEPSPEED_LAYERS, reason) if count else None


def read(contents: Contents, family: Decision) -> Parts:
    """The layer files as one stage, in file order; args from mp_rank_00_model_states.pt."""
    grid = _grid(contents)
    states = sorted(name for name in contents.files if _STATES.fullmatch(name))
    common = contents.state(states[0]) if states else {}
    args = plain_args(common.get("args"))
    ranks = range(max(tp for _, tp in grid) + 1)
    _refuse_missing(grid, len(ranks), args)
    names = {n: list(dict(_leaves(contents.state(grid[n, 0])))) for n, tp in grid if tp == 0}
    table = table_of(leaf for leaves in names.values() for leaf in leaves)
    if states:
        check_agreement(contents, states, table)
    for name in weights_beside(common, ()):
        contents.findings.report("extra", name, f"beside the layers in {states[0]}")
    layers = [n for n in sorted(names) if any(map(table.leaf, names[n]))]
    _refuse_gaps(grid, layers, args)
    trees = [_tree(contents, grid, layers, tp, table) for tp in ranks]
    labels = [re.sub(r"layer_\d+", "layer_*", grid[min(grid)[0], tp]) for tp in ranks]
    new_names = any(".self_attention." in name for name in trees[0])
    return Parts(
        family=family,
        era="2021 on: Megatron-DeepSpeed, pipeline layer files",
        serialization=contents.serialization(grid[min(grid)]),
        table=table,
        since_2021=new_names,
        stages=(stage_of(contents, labels, trees, table, ("transformer",)),),
        tensor_parallel=len(ranks),
        pipeline_parallel=size_said(args, "pipeline_model_parallel_size"),
        args=args,
        stated_version=common.get("checkpoint_version"),
        stated_iteration=common.get("iteration"),
    )


def _grid(contents: Contents) -> Grid:
    grid: dict[tuple[int, int], str] = {}
    for name in sorted(contents.files):
        match = _LAYER.fullmatch(name)
        if not match:
            continue
        place = (int(match["layer"]), int(match["tp"]))
        if place in grid:
            raise wrong_file(name, f"{grid[place]} as well", "one file a module and rank")
        grid[place] = name
    return grid


def _leaves(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, leaf in flatten(state):
        yield unwrapped(name), leaf


def _refuse_missing(grid: Grid, ranks: int, args: Mapping[str, Any] | None) -> None:
    size = max(ranks, size_said(args, "tensor_model_parallel_size"))
    for index in sorted({index for index, _ in grid}):
        for tp in range(size):
            if (index, tp) not in grid:
                like = grid[min(grid)]
                name = re.sub(r"layer_\d+-model_\d+", f"layer_{index:02d}-model_{tp:02d}", like)
                raise wrong_file(
                    name, "no such file", f"{size} tensor-parallel ranks of each module"
                )


def _refuse_gaps(grid: Grid, layers: list[int], args: Mapping[str, Any] | None) -> None:
    """Layer files are numbered through; raises RankFilesError, naming one that is not there."""
    if not layers:
        raise wrong_file(
            grid[min(grid)], "no file that holds a layer", "the files of a model's layers"
        )
    gap = _gap([index for index, _ in grid], layers, (args or {}).get("num_layers"))
    if gap is not None:
        name = re.sub(r"layer_\d+", f"layer_{gap:02d}", grid[min(grid)], count=1)
        raise wrong_file(name, f"no layer there, {len(layers)} in all", "layer files without a gap")


def _gap(files: list[int], layers: list[int], stated: Any) -> int | None:
    """The number of a lost layer file, where `stated` layers (of the args, if an int) are not met.

    Both forks leave equal gaps around the layers: BigScience's has one number unused before the
    first and one after the last, deepspeedai's none, so a lost first or last layer shows.
    """
    known = isinstance(stated, int)
    for here, there in pairwise(layers):
        if there > here + 1:
            return here + 1
    if known and stated <= len(layers):
        return None
    before = [index for index in files if index < layers[0]]
    after = [index for index in files if index > layers[-1]]
    if before and after:
        lead, trail = layers[0] - max(before), min(after) - layers[-1]
        if lead > trail:
            return layers[0] - 1
        if trail > lead:
            return layers[-1] + 1
    return layers[-1] + 1 if known else None


def _tree(
    contents: Contents, grid: Grid, layers: list[int], tp: int, table: Table
) -> dict[str, Any]:
    """All tensors of a rank by the name they would have in a rank file, for one set of names."""
    tree: dict[str, Any] = {}
    for index in sorted({index for index, _ in grid}):
        file = grid[index, tp]
        for leaf, tensor in _leaves(contents.state(file)):
            number = layers.index(index) if index in layers else None
            name = _name(table, leaf, tensor, number)
            if name in tree:
                contents.findings.report("twice", name, f"again in {file}")
            tree[name] = tensor
    return tree


def _name(table: Table, leaf: str, tensor: Any, layer: int | None) -> str:
    if layer is not None:
        return f"transformer.layers.{layer}.{leaf}"
    if table.name(leaf):
        return f"transformer.{leaf}"
    vector = isinstance(tensor, Tensor) and len(tensor.shape) == 1
    if leaf in ("weight", "bias") and vector:
        return f"transformer.{FINAL_NORM}.{leaf}"
    return HEAD if leaf in ("lm_head.weight", "weight") else leaf
