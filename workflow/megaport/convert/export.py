"""GPT-2 to Megatron: the table read from right to left, in three forms."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from megaport.convert.errors import ExportError
from megaport.convert.export_args import ERF, TANH, arguments, check_activation
from megaport.convert.export_layouts import MakeLeaf, Stage, core_model, ngc_tree, v3_model
from megaport.convert.export_model import Gpt2, open_gpt2
from megaport.convert.legacy_writer import legacy_size, legacy_stream
from megaport.convert.zip_writer import write_archive, write_torch_zip

Form = Literal["ngc", "v3", "core"]
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
    if form == "ngc":
        _export_ngc(model, out, tensor_parallel, pipeline_parallel, compress=compress)
    else:
        _check_parallel(model, tensor_parallel, pipeline_parallel)
        check_activation(model, (*TANH, ERF), form)
        _export_ranks(model, out, tensor_parallel, pipeline_parallel, form)


def _export_ngc(model: Gpt2, out: Path, tensors: int, stages: int, *, compress: bool) -> None:
    """No args, so what a reader assumes without them must be true: tanh GELU, 1e-5, tied."""
    check_activation(model, TANH, "ngc")
    epsilon = model.config["layer_norm_epsilon"]
    if (tensors, stages, model.tied, epsilon) != (1, 1, True, 1e-5):
        raise ExportError(
            "form ngc",
            seen=f"tensor_parallel {tensors}, pipeline_parallel {stages}, "
            f"tied {model.tied}, layer_norm_epsilon {epsilon}",
            expected="1, 1, True, 1e-05: its one file says none of them",
            remedy="Use form v3 or core.",
        )
    tree = ngc_tree(model.layers, partial(model.leaf, rank=0, ranks=1, qkv_order="3,np,hn"))
    tracker, weights = b"release", "release/mp_rank_00/model_optim_rng.pt"
    members = [
        (TRACKER, [tracker], len(tracker)),
        (weights, legacy_stream(tree), legacy_size(tree)),
    ]
    write_archive(out, members, deflate=compress)


def _export_ranks(model: Gpt2, out: Path, tensors: int, stages: int, form: Form) -> None:
    place: Callable[[Stage, MakeLeaf], dict[str, Any]]
    place = core_model if form == "core" else v3_model
    args = arguments(model, tensor_parallel=tensors, pipeline_parallel=stages, core=form == "core")
    for index in range(stages):
        stage = Stage(index, stages, model.layers, model.tied)
        for rank in range(tensors):
            make = partial(model.leaf, rank=rank, ranks=tensors, qkv_order="np,3,hn")
            tree = {
                "args": args,
                "checkpoint_version": 3.0,
                "iteration": 0,
                "model": place(stage, make),
            }
            suffix = f"_{index:03d}" if stages > 1 else ""
            folder = out / "release" / f"mp_rank_{rank:02d}{suffix}"
            folder.mkdir(parents=True)
            with (folder / "model_optim_rng.pt").open("wb") as file:
                write_torch_zip(tree, file, "archive")
    (out / TRACKER).write_text("release", encoding="ascii")


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
