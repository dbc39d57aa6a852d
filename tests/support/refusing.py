"""Checkpoints with something wrong, and the message they are refused with."""

from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.findings import CheckpointMismatchError
from megaport.checkpoint.open import open_checkpoint
from megaport.errors import MegaportError
from support.megatron_files import LAYOUTS, write_checkpoint
from support.megatron_model import Model

# Layouts whose layers are stacked hold a tensor of all layers or of none.
UNSTACKED = [name for name in LAYOUTS if name not in ("torch_dist", "zarr")]


def refused(
    tmp_path: Path, model: Model, error: type[MegaportError] = CheckpointMismatchError, **form: Any
) -> str:
    path = write_checkpoint(tmp_path / "checkpoint", model, **form)
    with pytest.raises(error) as caught:
        open_checkpoint(path, spool=tmp_path / "spool")
    return str(caught.value)


def changed(**tensors: torch.Tensor | None) -> Model:
    """A model whose tensors of these canonical names (`__` for `.`) are replaced or removed."""
    model = Model(layers=3)
    names = dict(model.tensors)
    for key, tensor in tensors.items():
        name = key.replace("__", ".")
        if tensor is None:
            del names[name]
        else:
            names[name] = tensor
    object.__setattr__(model, "tensors", names)
    return model


def without(prefix: str) -> Model:
    names = (name.replace(".", "__") for name in Model(layers=3).tensors if name.startswith(prefix))
    return changed(**dict.fromkeys(names))
