"""Any single corruption of any checkpoint is refused by name, or changes nothing that counts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from megaport.checkpoint.model import Checkpoint
from megaport.checkpoint.open import open_checkpoint
from megaport.errors import MegaportError
from megaport.table import HEAD
from support.megatron_files import forms, models, write_checkpoint
from support.megatron_model import Model
from support.reading import assert_holds

HOW = ("drop", "cut", "grow", "transpose", "integers", "rename")


def _tensors(tree: dict[Any, Any]) -> list[tuple[dict[Any, Any], Any]]:
    """(dictionary, key) of every tensor, or every list of chunks, in nested dictionaries."""
    found = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += _tensors(value)
        elif isinstance(value, torch.Tensor | list):
            found.append((tree, key))
    return found


def _corrupted(tensor: torch.Tensor, how: str) -> torch.Tensor:
    if how == "cut":
        return tensor[:-1].clone()
    if how == "grow":
        return torch.cat([tensor, tensor[:1]])
    if how == "transpose":
        return tensor.T.contiguous() if tensor.dim() > 1 else tensor[None].clone()
    return tensor.to(torch.int32)


class Corruption:
    """Changes one tensor, drawn among all that the checkpoint's files hold, and remembers it."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.how = data.draw(st.sampled_from(HOW))
        self.name = ""

    def __call__(self, file: str, content: dict[str, Any]) -> None:
        places = _tensors({k: v for k, v in content.items() if k != "args"})
        if self.name or not places or not self.data.draw(st.booleans()):
            return
        tree, key = self.data.draw(st.sampled_from(places))
        self.name = str(key)
        value = tree.pop(key)
        if self.how == "rename":
            tree[f"{key}_"] = value
        elif self.how != "drop" and isinstance(value, list):
            at, piece = value[0]
            tree[key] = [(at, _corrupted(piece, self.how)), *value[1:]]
        elif self.how != "drop":
            tree[key] = _corrupted(value, self.how)


def _only_the_head_is_gone(checkpoint: Checkpoint, model: Model, form: dict[str, Any]) -> bool:
    """Without args, a model that lost its own head is a tied one for all the files say."""
    return not form["with_args"] and set(model.tensors) - set(checkpoint.tensors) == {HEAD}


@settings(max_examples=120, deadline=None, derandomize=True)
@given(form=forms(), data=st.data())
def test_a_single_corruption_is_refused_or_harmless(
    form: dict[str, Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("corrupt")
    model = data.draw(models(form))
    corruption = Corruption(data)
    path = write_checkpoint(folder / "c", model, **form, edit=corruption)
    try:
        checkpoint = open_checkpoint(path, spool=folder)
    except MegaportError as error:
        assert corruption.name, f"refused though nothing was changed: {error}"
        return
    if not _only_the_head_is_gone(checkpoint, model, form):
        assert_holds(checkpoint, model)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(form=forms(), data=st.data())
def test_a_lost_file_is_refused_by_name_or_harmless(
    form: dict[str, Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("lost")
    model = data.draw(models(form))
    path = write_checkpoint(folder / "c", model, **form)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lost = data.draw(st.sampled_from(files))
    lost.unlink()
    try:
        checkpoint = open_checkpoint(path, spool=folder)
    except MegaportError:
        return
    if checkpoint.version is None and form["version"] is not None:
        return  # common.pt or mp_rank states are gone, and with them the stated version
    if not _only_the_head_is_gone(checkpoint, model, form):
        assert_holds(checkpoint, model)
