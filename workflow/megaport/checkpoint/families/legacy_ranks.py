"""Megatron-LM's own model class, 2019 to 2024: mp_rank files with a transformer or encoder."""

from collections.abc import Iterable
from typing import Any

from megaport.architectures import table_of
from megaport.checkpoint.contents import Contents, flatten
from megaport.checkpoint.families.names import resolver
from megaport.checkpoint.families.rank_family import model_keys, parts_of_ranks
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.model import LEGACY_RANKS
from megaport.checkpoint.ranks import rank_names
from megaport.checkpoint.stages import Parts
from megaport.checkpoint.version import Layout

STACKS = ("transformer", "encoder")


def recognise(contents: Contents) -> str | None:
    """Why these are legacy rank files, or None."""
    ranks = rank_names(contents)
    if not ranks:
        return None
    names = _names(contents.state(ranks[min(ranks)]))
    resolve = resolver(table_of(names), *STACKS)
    if not any(map(resolve, names)):
        return None
    return f"rank files hold tensors under {_stack(names)}.layers, as Megatron-LM names them"


def read(contents: Contents, findings: Findings) -> Parts:
    """The rank files' tensors, stage by stage."""
    ranks = rank_names(contents)
    state = contents.state(ranks[min(ranks)])
    names = _names(state)
    layout = Layout(since_2021=_stack(names) == "encoder", deepspeed=False)
    era = _era(names, state.get("checkpoint_version"))
    return parts_of_ranks(contents, findings, LEGACY_RANKS, era, layout, STACKS)


def _names(state: dict[str, Any]) -> list[str]:
    return [name for key in model_keys(state) for name, _ in flatten(state[key])]


def _stack(names: Iterable[str]) -> str:
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
