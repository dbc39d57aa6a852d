"""Any single edit of any real checkpoint is refused, said, harmless, or on the list of what no file
can tell (docs/how-it-works/formats.md, "What cannot be told").

Edits are made on what was read of the files, so no pickle is ever loaded or written for them.
"""

import re
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.bits import alike
from megaport.checkpoint.contents import Contents
from megaport.checkpoint.model import Checkpoint
from megaport.checkpoint.open import open_contents, read_checkpoint
from megaport.checkpoint.records import Unreadable
from megaport.checkpoint.screen import DOUBTFUL
from megaport.errors import MegaportError
from megaport.table import Architecture
from megaport.tensors import Tensor
from support.oracles import LLAMAS, ORACLES, folders_of

CASES = [*folders_of(ORACLES), *folders_of(LLAMAS)]
SPOOL = Path(tempfile.gettempdir())
# Args that change the mathematics, less those that alone say it: epsilon, heads, activation,
# rotary base and scaling, layernorm_1p.
MATHEMATICS = (
    "add_bias_linear", "alibi_slopes", "apply_residual_connection_post_layernorm",
    "attention_of_a_fork", "ffn_hidden_size", "hidden_size", "kv_channels",
    "multi_latent_attention", "normalization", "num_experts", "num_layers", "num_query_groups",
    "padded_vocab_size", "params_dtype", "pipeline_model_parallel_size",
    "position_embedding_type", "qk_layernorm", "rank", "residual_of_a_fork",
    "rotary_interleaved", "rotary_percent", "softmax_scale", "squared_relu", "swiglu",
    "tensor_model_parallel_size", "untie_embeddings_and_output_weights",
    "virtual_pipeline_model_parallel_size", "window_size",
)  # fmt: skip
VALUES = (None, True, False, 0, 1, 2, 3, 8, 0.5, 1e-3, "rope", "none", "RMSNorm", "torch.float16")


class Edit(NamedTuple):
    """One change of `contents`; where it is `loud` and not refused, it is to be said.

    Functions give None where there is nothing to change, or where no file could tell.
    """

    said: str
    loud: bool = False


def torch_files(contents: Contents) -> list[str]:
    return [name for name in contents.files if name.endswith(".pt")]


def two_files(contents: Contents, draw: Callable[..., Any]) -> tuple[str, str] | None:
    """Two files of the same kind, if the first that is drawn is not alone."""
    one = draw(st.sampled_from(sorted(contents.files)))
    tail = one.rsplit(".", 1)[-1]
    others = [name for name in contents.files if name != one and name.rsplit(".", 1)[-1] == tail]
    return (one, draw(st.sampled_from(sorted(others)))) if others else None


# Files whose tensors say nothing of their place: a module or a chunk and no more.
BARE = re.compile(r".*layer_.*|.*\.distcp|.*/[0-9]+(\.[0-9]+)*")

# Chunks of norms and biases, which may well be alike.
NORMS = re.compile(r"norm|bias|position")
ARGS = ("common.pt", "mp_rank_00_model_states.pt")  # files that hold them


def swap(contents: Contents, draw: Callable[..., Any]) -> Edit | None:
    one, other = two_files(contents, draw) or ("", "")
    if not one or BARE.fullmatch(one):
        return None
    files = contents.files
    files[one], files[other] = files[other], files[one]
    return Edit(f"swap {one} and {other}")


def copy(contents: Contents, draw: Callable[..., Any]) -> Edit | None:
    one, other = two_files(contents, draw) or ("", "")
    if not one or NORMS.search(one):
        return None
    contents.files[other] = contents.files[one]
    return Edit(f"copy {one} over {other}")


def delete(contents: Contents, draw: Callable[..., Any]) -> Edit | None:
    one = draw(st.sampled_from(sorted(contents.files)))
    if len(contents.files) == 1 or one.endswith(ARGS):
        return None
    del contents.files[one]
    return Edit(f"delete {one}")


def argument(contents: Contents, draw: Callable[..., Any]) -> Edit | None:
    states = [contents.state(name) for name in torch_files(contents)]
    records = [state["args"] for state in states if getattr(state.get("args"), "state", None)]
    if not records:
        return None
    name, value = draw(st.sampled_from(MATHEMATICS)), draw(st.sampled_from(VALUES))
    draw(st.sampled_from(records)).state[name] = value
    off = value is not True and value in (None, False, 0, 1, "none")
    return Edit(f"args.{name} = {value!r}", loud="_of_a_fork" in name and not off)


def fact(contents: Contents, draw: Callable[..., Any]) -> Edit | None:
    names = [name for name in torch_files(contents) if "layer_" not in name]
    if not names:
        return None
    state = contents.state(draw(st.sampled_from(names)))
    key = draw(st.sampled_from(("checkpoint_version", "iteration")))
    if key == "checkpoint_version" and len(names) == 1:
        return None  # of old names only the version tells the order of rows
    value = draw(st.sampled_from((None, 0, 1, 1.0, 2.0, 3.0, 8)))
    state[key] = value
    return Edit(f"{key} = {value!r}")


def chunk(contents: Contents, draw: Callable[..., Any]) -> Edit | None:
    """Swapped virtual stages of a rank; those of middle ranks hold layers and nothing else."""
    files = [name for name in torch_files(contents) if "model1" in contents.state(name)]
    names = [name for name in files if "_000/" in name or "_003/" in name]
    if not names:
        return None
    name = draw(st.sampled_from(names))
    state = contents.state(name)
    state["model0"], state["model1"] = state["model1"], state["model0"]
    return Edit(f"swap chunks in {name}")


def tensors(contents: Contents) -> list[tuple[dict[str, Any], str]]:
    """(dictionary, key) of every tensor of a model in a torch file."""
    found: list[tuple[dict[str, Any], str]] = []

    def walk(tree: dict[str, Any]) -> None:
        for key, value in tree.items():
            if isinstance(value, dict):
                walk(value)
            elif isinstance(value, Tensor):
                found.append((tree, key))

    for name in torch_files(contents):
        state = contents.state(name)
        walk({k: v for k, v in state.items() if str(k).startswith(("model", "module", "layer"))})
        walk(state if "layer_" in name else {})
    return found


# Nothing is dropped: without args, a model that lost its own head is a tied one.
HOW = ("rename", "half", "whole", "unreadable", "zeros", "cut", "adapter")


def tensor(contents: Contents, draw: Callable[..., Any]) -> Edit | None:
    every = tensors(contents)
    if not every:
        return None
    tree, key = draw(st.sampled_from(every))
    how = draw(st.sampled_from(HOW))
    old = tree[key]
    if how == "rename":
        tree[f"{key}_of_a_fork"] = tree.pop(key)
    elif how == "half":
        other = {"F16": "BF16", "BF16": "F16"}.get(old.dtype)
        if other is None:
            return None
        tree[key] = Tensor(other, old.array.view("<u2" if other == "BF16" else "<f2"))
    elif how == "whole":
        tree[key] = Tensor("I32", np.zeros(old.shape, "<i4"))
    elif how == "unreadable":
        tree[key] = Unreadable("torch.float8_e4m3fn", reason="values of FP8", shape=old.shape)
    elif how == "zeros":
        if len(old.shape) < 2:
            return None  # a bias may be
        tree[key] = Tensor(old.dtype, np.zeros_like(old.array))
    elif how == "cut":
        tree[key] = Tensor(old.dtype, old.array[:-1])
    else:
        tree[f"{key}_adapter"] = Unreadable("torch.float8_e4m3fn", reason="values of FP8")
    return Edit(f"{how} {key}", loud=how == "zeros")


EDITS = (swap, copy, delete, argument, fact, chunk, tensor)


def model_of(contents: Contents, version: float | None) -> tuple[Checkpoint, Architecture]:
    checkpoint = read_checkpoint(contents, version=version)
    heads = {} if checkpoint.args else {"n_head": 4}
    return checkpoint, describe_architecture(checkpoint, heads)


def same(one: tuple[Checkpoint, Architecture], other: tuple[Checkpoint, Architecture]) -> bool:
    numbers = [f.name for f in fields(Architecture) if f.name not in ("decisions", "dtype")]
    if any(getattr(one[1], name) != getattr(other[1], name) for name in numbers):
        return False
    ours, theirs = one[0], other[0]
    return (
        ours.qkv_order == theirs.qkv_order
        and list(ours.tensors) == list(theirs.tensors)
        and all(equal(ours, theirs, name) for name in ours.tensors)
    )


def equal(one: Checkpoint, other: Checkpoint, name: str) -> bool:
    """Whether the tensors are the same bits, in whatever shards where their order says nothing."""
    mine, theirs = one.tensors[name], other.tensors[name]
    row = one.table.row(name)
    if len(mine) == len(theirs) or row.axis is None or one.qkv_order != "np,3,hn":
        return alike(mine, theirs)
    return all(
        np.array_equal(
            np.concatenate([shard.array for shard in mine[part :: row.parts]], row.axis),
            np.concatenate([shard.array for shard in theirs[part :: row.parts]], row.axis),
        )
        for part in range(row.parts)
    )


def is_said(checkpoint: Checkpoint) -> bool:
    return any(decision.subject in DOUBTFUL for decision in checkpoint.decisions)


@pytest.mark.parametrize("cases", [CASES] if CASES else [], ids=["real"] if CASES else None)
@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_single_edit_is_refused_said_harmless_or_on_the_list(
    cases: list[Path], data: st.DataObject
) -> None:
    case = data.draw(st.sampled_from(cases), "case")
    version = 2.0 if "nover" in case.name else None
    contents = open_contents(case, spool=SPOOL)
    edit = data.draw(st.sampled_from(EDITS))(contents, data.draw)
    if edit is None:
        return
    try:
        found = model_of(contents, version)
    except MegaportError:
        return
    assert is_said(found[0]) or not edit.loud, (case.name, edit)
    assert is_said(found[0]) or same(found, model_of(open_contents(case, spool=SPOOL), version)), (
        case.name,
        edit,
    )
