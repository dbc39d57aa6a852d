"""Writes tiny Megatron checkpoints of every layout, for tests of reading, converting and refusing.

    model = Model(layers=4, dtype="F16")
    write_checkpoint(folder, model, layout="encoder", tp=2, pp=2, version=3)

`model.tensors` is what a right reader must find, query_key_value rows as [3, heads, head size].
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from megaport.table import split_layer
from support import megatron_dist
from support.edits import RANK, Edit
from support.llama_files import Llama
from support.megatron_model import Model, core_name, layer_leaf, legacy_name

LEGACY = ("flat", "transformer", "encoder", "input_norm")
CORE = ("core", "core_te")
DIST = ("torch_dist", "torch_dist_layers", "zarr", "torch_dcp", "fsdp_dtensor")
DEEPSPEED = ("bigscience", "deepspeedai")
RANKED = (*LEGACY, *CORE)
LAYOUTS = (*LEGACY, *CORE, *DIST, *DEEPSPEED)


def _unchanged(name: str, content: dict[str, Any]) -> None:
    """The edit that changes nothing."""


@dataclass(frozen=True)
class Form:
    """How a model is cut into files; `stage_layers` has pp x vp numbers in the order of running.

    `edit(name, state)` may change what a file holds before it is written: that is how tests
    corrupt one thing at a time.
    """

    layout: str = "encoder"
    tp: int = 1
    pp: int = 1
    vp: int = 1
    stage_layers: Sequence[int] | None = None
    version: int | None = 3
    legacy_serialization: bool = False
    with_args: bool = True
    args: dict[str, Any] | None = None
    edit: Edit = _unchanged


def write_checkpoint(folder: Path, model: Model | Llama, **form: Any) -> Path:
    """Write `model` under `folder` in the `Form` the keywords describe; returns `folder`.

    Layouts flat and transformer have no version unless one is given (then QKV is [3, np, hn]);
    torch_dist, zarr and DCP are written as tensor-parallel chunks.
    """
    if form.get("layout") in ("flat", "transformer"):
        form.setdefault("version", None)
    chosen = Form(**form)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest_checkpointed_iteration.txt").write_text("7")
    here = folder / "iter_0000007"
    if chosen.layout in DEEPSPEED:
        _write_deepspeed(folder, model, chosen)
    elif chosen.layout in DIST:
        common = _common(model, chosen)
        megatron_dist.write(here, model, chosen.layout, chosen.tp, common, chosen.edit)
    else:
        _write_ranks(here, model, chosen)
    return folder


def _common(model: Model | Llama, form: Form) -> dict[str, Any]:
    common: dict[str, Any] = {"iteration": 7}
    if form.with_args:
        said = model.args(
            tensor_model_parallel_size=1 if form.layout == "fsdp_dtensor" else form.tp,
            pipeline_model_parallel_size=form.pp,
            virtual_pipeline_model_parallel_size=form.vp if form.vp > 1 else None,
        )
        if form.version is None:  # args of before 2020-09-11
            del said["bias_gelu_fusion"]
        if form.version in (None, 1):  # and of before 2020-10-20
            said["model_parallel_size"] = said.pop("tensor_model_parallel_size")
            if form.pp == 1:
                del said["pipeline_model_parallel_size"]
        common["args"] = Namespace(**said | (form.args or {}))
    if form.version is not None:
        common["checkpoint_version"] = float(form.version)
    return common


def stage_layers(model: Model | Llama, form: Form) -> list[list[int]]:
    """The global layer numbers of each stage, in the order of running (virtual stage outer)."""
    stages = form.pp * form.vp
    counts = form.stage_layers or [model.layers // stages] * stages
    assert sum(counts) == model.layers, "stage_layers must cover the model"
    starts = [sum(counts[:index]) for index in range(stages)]
    return [list(range(s, s + count)) for s, count in zip(starts, counts, strict=True)]


def _write_ranks(folder: Path, model: Model | Llama, form: Form) -> None:
    for tp in range(form.tp):
        for pp in range(form.pp):
            name = rank_folder(tp, pp, form.pp)
            state = _common(model, form)
            for vp in range(form.vp):
                key = f"model{vp}" if form.vp > 1 else "model"
                state[key] = _stage(model, form, tp, vp * form.pp + pp)
            form.edit(name, state)
            save(state, folder / name / RANK, form.legacy_serialization)


def _stage(model: Model | Llama, form: Form, tp: int, stage: int) -> dict[str, Any]:
    last = form.pp * form.vp - 1
    mine = stage_layers(model, form)[stage]
    native = core_name if form.layout in CORE else legacy_name
    flat: dict[str, Any] = {}
    for name in model.tensors:
        place = split_layer(name)
        ends = stage == 0 if "embeddings" in name else stage == last
        if (place[0] in mine) if place else ends:
            layer = mine.index(place[0]) if place else None
            tensor = model.shard(name, tp, form.tp, form.version or 0)
            flat[native(name, form.layout, layer)] = tensor
    if stage == last != 0 and not model.untied:
        core = form.layout in CORE
        copy = "output_layer.weight" if core else "word_embeddings_for_head.weight"
        flat[copy] = model.shard("word_embeddings.weight", tp, form.tp, 0)
    if form.layout in CORE and mine:
        return flat | {"decoder.layers.0.mlp.linear_fc1._extra_state": None}
    return flat if form.layout == "flat" else nested(flat)


def rank_folder(tp: int, pp: int, stages: int) -> str:
    return f"mp_rank_{tp:02d}" + (f"_{pp:03d}" if stages > 1 else "")


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Legacy nesting: modules are dictionaries down to the stack, whose keys are dotted."""
    tree: dict[str, Any] = {}
    for name, tensor in flat.items():
        parts = name.split(".")
        depth = 2 if "encoder" in parts or "transformer" in parts else len(parts) - 1
        inner = tree
        for part in parts[:depth]:
            inner = inner.setdefault(part, {})
        inner[".".join(parts[depth:])] = tensor
    return tree


def save(state: Any, path: Path, legacy_serialization: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path, _use_new_zipfile_serialization=not legacy_serialization)


def _write_deepspeed(folder: Path, model: Model, form: Form) -> None:
    """BigScience: embedding 01, layers 03.., norm L+4. deepspeedai: 01, 02.., L+2, head L+3."""
    here = folder / "global_step7"
    first = 3 if form.layout == "bigscience" else 2
    norm = first + model.layers + (1 if form.layout == "bigscience" else 0)
    files: dict[int, dict[str, str]] = {1: {}, norm: {}}
    for name in model.tensors:
        place = split_layer(name)
        if place:
            leaf = layer_leaf(place[1], "encoder")
            files.setdefault(first + place[0], {})[leaf] = name
        elif name.startswith("final"):
            files[norm][name.rsplit(".", 1)[1]] = name
        elif "embeddings" in name:
            files[1][name] = name
        else:
            files[norm + 1] = {"lm_head.weight": name}
    for tp in range(form.tp):
        for index, names in files.items():
            state = {k: model.shard(n, tp, form.tp, form.version or 0) for k, n in names.items()}
            name = f"layer_{index:02d}-model_{tp:02d}-model_states.pt"
            form.edit(name, state)
            save(state, here / name)
        common = _common(model, form) | {"module": None, "mp_world_size": form.tp}
        form.edit(f"mp_rank_{tp:02d}_model_states.pt", common)
        save(common, here / f"mp_rank_{tp:02d}_model_states.pt")
    (folder / "latest").write_text(here.name)


@st.composite
def forms(draw: st.DrawFn) -> dict[str, Any]:
    """A layout with parallel sizes it can have, and a model that divides by them."""
    layout = draw(st.sampled_from(LAYOUTS))
    tp = draw(st.sampled_from((1, 2, 4)))
    pp = draw(st.integers(1, 3)) if layout in RANKED else 1
    vp = draw(st.integers(1, 2)) if pp > 1 and layout != "flat" else 1
    counts = draw(st.lists(st.integers(1, 3), min_size=pp * vp, max_size=pp * vp))
    version = {
        "flat": st.just(None),
        "transformer": st.sampled_from((None, 1, 2, 3) if pp == 1 else (2, 3)),
        "encoder": st.sampled_from((2, 3)),
    }.get(layout, st.just(3))
    return {
        "layout": layout,
        "tp": tp,
        "pp": pp,
        "vp": vp,
        "stage_layers": counts,
        "version": draw(version),
        "legacy_serialization": draw(st.booleans()) if layout in RANKED else False,
        "with_args": draw(st.booleans()) if (pp, layout in DIST) == (1, False) else True,
    }


@st.composite
def models(draw: st.DrawFn, form: dict[str, Any]) -> Model:
    """A model of the form's number of layers, in any dtype, untied where that era could be."""
    untied = form["layout"] not in ("flat", "transformer", "bigscience") and draw(st.booleans())
    dtype = draw(st.sampled_from(("F32", "F16", "BF16")))
    return Model(layers=sum(form["stage_layers"]), dtype=dtype, untied=untied)
