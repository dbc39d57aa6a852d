"""NeMo 1.x: `.nemo` archives and Lightning's `.ckpt`, whose names are Megatron's below `model.`.

Rows of query, key and value are [heads, 3, head size]. Read from the layouts that NeMo's sources
write.
"""

import re

from megaport.checkpoint.contents import Contents
from megaport.checkpoint.families.rank_files import State, first_state, parts_of_ranks
from megaport.checkpoint.model import NEMO, Parts
from megaport.table import Decision

_NAME = re.compile(r"model\.(module\.)*(language_model\.|embedding\.|decoder\.)")
STACKS = ("encoder", "decoder")


def recognise(contents: Contents) -> Decision | None:
    """That these are NeMo's files, or None."""
    if not any(_NAME.match(name) for name in _names(contents)):
        return None
    where = "model.language_model, model.embedding or model.decoder"
    return Decision("family", NEMO, f"tensors stand below {where}")


def read(contents: Contents, family: Decision) -> Parts:
    """The rank files' tensors, stage by stage."""
    core = any(".decoder." in name for name in _names(contents))
    era = f"2021 to 2024: NeMo 1.x, {'Megatron core' if core else 'its own'} model"
    return parts_of_ranks(contents, family, era, _models, STACKS, iteration="global_step")


def _models(state: State) -> State:
    """A Lightning checkpoint's model, or the file itself, which is one in an archive."""
    model = state.get("state_dict")
    return {"state_dict": model} if isinstance(model, dict) else {"": state}


def _names(contents: Contents) -> list[str]:
    """The names of the first file's tensors."""
    return [str(name) for model in _models(first_state(contents)).values() for name in model]
