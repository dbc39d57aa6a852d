"""GPT-2 to Megatron: the table read from right to left, in three forms."""

import zipfile
from functools import partial
from pathlib import Path
from typing import Any

from megaport.convert.errors import ExportError
from megaport.convert.export_args import ERF, TANH, arguments, check_activation
from megaport.convert.export_layouts import Form, model_tree
from megaport.convert.export_model import Gpt2, open_gpt2
from megaport.convert.torch_writer import add_member, legacy_stream, write_torch_zip

TRACKER = "latest_checkpointed_iteration.txt"


def export_checkpoint(
    model_dir: Path,
    out: Path,
    *,
    form: Form,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    compress: bool = False,
) -> None:
    """Write the GPT-2 in `model_dir` (config.json, safetensors) as a Megatron checkpoint at `out`.

    "ngc": a zip like NGC's 345M, `compress` deflating it. "v3": a folder of Megatron-LM since 2021,
    args and checkpoint_version 3.0. "core": a folder of Megatron core, format `torch`. Folders hold
    `release/mp_rank_TT[_PPP]/` over tensor_parallel x pipeline_parallel and the tracker file.
    The dtype stays, rows that pad the vocabulary are zeros; same input, same bytes.

    Raises ExportError: incomplete model, sizes that do not divide, an activation or a head the form
    cannot say; UnreadableModelError: no safetensors.
    """
    model = open_gpt2(model_dir, ranks=tensor_parallel)
    check_activation(model, TANH if form == "ngc" else (*TANH, ERF), form)
    if form == "ngc":
        _check_ngc(model, tensor_parallel, pipeline_parallel)
        _write_ngc(model, out, compress=compress)
        return
    _check_parallel(model, tensor_parallel, pipeline_parallel)
    for stage in range(pipeline_parallel):
        suffix = f"_{stage:03d}" if pipeline_parallel > 1 else ""
        for rank in range(tensor_parallel):
            tree = _rank_tree(model, form, rank, tensor_parallel, stage, pipeline_parallel)
            folder = out / "release" / f"mp_rank_{rank:02d}{suffix}"
            folder.mkdir(parents=True)
            with (folder / "model_optim_rng.pt").open("wb") as file:
                write_torch_zip(tree, file, "archive")
    (out / TRACKER).write_text("release", encoding="ascii")


def _rank_tree(
    model: Gpt2, form: Form, rank: int, ranks: int, stage: int, stages: int
) -> dict[str, Any]:
    """What one rank's file holds."""
    order = "3,np,hn" if form == "ngc" else "np,3,hn"
    make = partial(model.leaf, rank=rank, ranks=ranks, qkv_order=order)
    weights = model_tree(
        form, make, layers=model.layers, tied=model.tied, stage=stage, stages=stages
    )
    if form == "ngc":
        return {"model": weights}
    args = arguments(model, tensor_parallel=ranks, pipeline_parallel=stages, core=form == "core")
    return {"args": args, "checkpoint_version": 3.0, "iteration": 0, "model": weights}


def _write_ngc(model: Gpt2, out: Path, *, compress: bool) -> None:
    tree = _rank_tree(model, "ngc", 0, 1, 0, 1)
    with zipfile.ZipFile(out, "w") as archive:
        add_member(archive, TRACKER, [b"release"], deflate=compress)
        file = "release/mp_rank_00/model_optim_rng.pt"
        add_member(archive, file, legacy_stream(tree), large=True, deflate=compress)


def _check_ngc(model: Gpt2, tensors: int, stages: int) -> None:
    """No args, so what a reader assumes without them must be true."""
    epsilon = model.config["layer_norm_epsilon"]
    if (tensors, stages, model.tied, epsilon) != (1, 1, True, 1e-5):
        raise ExportError(
            "form ngc",
            seen=f"tensor_parallel {tensors}, pipeline_parallel {stages}, "
            f"tied {model.tied}, layer_norm_epsilon {epsilon}",
            expected="1, 1, True, 1e-05: its one file says none of them",
            remedy="Use form v3 or core.",
        )


def _check_parallel(model: Gpt2, tensors: int, stages: int) -> None:
    wrong = [
        f"{name} {size} is not divisible by {ranks}"
        for name, size, ranks in (
            ("n_head", model.sizes.n_head, tensors),
            ("n_inner", model.sizes.n_inner, tensors),
            ("n_layer", model.layers, stages),
        )
        if size % ranks
    ]
    if wrong:
        raise ExportError(
            "parallel sizes",
            seen="; ".join(wrong),
            expected="sizes that divide evenly over the ranks",
            remedy="Choose other tensor_parallel and pipeline_parallel.",
        )
