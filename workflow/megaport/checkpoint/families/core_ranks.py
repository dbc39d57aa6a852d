"""Megatron core's `torch` format: mp_rank files whose model is a flat dictionary."""

from megaport.checkpoint.contents import Contents, flatten
from megaport.checkpoint.families.names import unwrapped
from megaport.checkpoint.families.rank_family import model_keys, parts_of_ranks
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.model import CORE_RANKS
from megaport.checkpoint.ranks import rank_names
from megaport.checkpoint.stages import Parts
from megaport.checkpoint.version import Layout


def recognise(contents: Contents) -> str | None:
    """Why these are Megatron core's rank files, or None."""
    ranks = rank_names(contents)
    if not ranks:
        return None
    state = contents.state(ranks[min(ranks)])
    names = [name for key in model_keys(state) for name, _ in flatten(state[key])]
    if not any(unwrapped(name).startswith(("decoder.", "embedding.")) for name in names):
        return None
    return "rank files hold decoder.layers and embedding keys, as Megatron core names them"


def read(contents: Contents, findings: Findings) -> Parts:
    """The rank files' tensors, stage by stage."""
    era = "2023 on: Megatron core, torch format"
    layout = Layout(since_2021=True, deepspeed=False)
    return parts_of_ranks(contents, findings, CORE_RANKS, era, layout, ("decoder",))
