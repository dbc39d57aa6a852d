"""Which files of a checkpoint carry its model: optimizer states and RNG shards do not."""

import re
from collections.abc import Iterable

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
