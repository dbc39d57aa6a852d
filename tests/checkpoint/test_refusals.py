"""What is wrong with what the files of a checkpoint hold is refused, and the error names it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.families.chunks import ChunksError
from megaport.checkpoint.families.rank_files import RankFilesError
from megaport.checkpoint.version import AmbiguousVersionError
from support.edits import GONE, added, at
from support.faults import Fault, fault
from support.megatron_files import DEEPSPEED, LAYOUTS
from support.megatron_model import Model
from support.reading import UNSTACKED, changed

THREE = Model(layers=3)
DOWN = "layers.1.mlp.dense_4h_to_h"
CORE_DOWN = "decoder.layers.1.mlp.linear_fc2"
WORD, POSITION = "embedding.word_embeddings.weight", "embedding.position_embeddings.weight"
NO_SIZES = {"padded_vocab_size": None, "max_position_embeddings": None}
GAP = changed({"layers.1.*": None})


def more(tensor: torch.Tensor) -> torch.Tensor:
    other = tensor.clone()
    other.view(-1)[3] += 1
    return other


def unversioned_with_old_names(name: str, state: dict[str, Any]) -> None:
    state.pop("checkpoint_version", None)
    for key in [key for key in state if key.startswith("self_attention.")]:
        state[key.removeprefix("self_")] = state.pop(key)


ONE_TENSOR = [
    fault(
        "a number in its place",
        f"found \n  wrong shape: {DOWN}.weight ([], expected [16, 64])\n; expected",
        layout="core",
        edit=at("mp_rank", "model", f"{CORE_DOWN}.weight", to=torch.tensor(1.0)),
    ),
    *(
        fault(
            f"{short}_embeddings of {how}",
            f"wrong shape: {short}_embeddings.weight",
            layout="core",
            edit=at("mp_rank", "model", key, to=cut),
            args=NO_SIZES,
        )
        for short, key in (("word", WORD), ("position", POSITION))
        for how, cut in (("a number", lambda t: t[0, 0].clone()), ("no rows", lambda t: t[:0]))
    ),
    fault(
        "another dtype on one rank",
        "wrong dtype: word_embeddings.weight (F16, F32",
        layout="core",
        tp=2,
        edit=at("mp_rank_01", "model", WORD, to=torch.Tensor.half),
    ),
    fault(
        "one of two bytes of the other kind",
        "wrong dtype: float16 beside bfloat16 (F16 27 times, BF16 1 times",
        layout="core",
        model=Model(dtype="F16"),
        edit=at("mp_rank", "model", WORD, to=torch.Tensor.bfloat16),
    ),
    fault(
        "a rank lacks one",
        "missing: layers.1.mlp.dense_h_to_4h.bias (in mp_rank_01",
        layout="core",
        tp=2,
        edit=at("mp_rank_01", "model", "decoder.layers.1.mlp.linear_fc1.bias", to=GONE),
    ),
    *(
        fault(f"{name} lost", f"missing: {name}", layout=layout, model=changed({name: None}))
        for layout in ("torch_dist", "zarr")
        for name in ("word_embeddings.weight", "final_layernorm.bias")
    ),
    *(
        fault("one more", "extra: ", "adapter.weight", layout=layout, edit=added("adapter.weight"))
        for layout in LAYOUTS
        if "dcp" not in layout
    ),
]
LAYERS = [
    *(
        fault(
            "a stack lost",
            *(f"missing: layers.{n}.mlp.dense_4h_to_h.weight" for n in range(3)),
            layout=layout,
            model=THREE,
            edit=at("entries", "decoder.layers.mlp.linear_fc2.weight", to=GONE),
        )
        for layout in ("torch_dist", "zarr")
    ),
    *(
        fault("a gap in layers", "layer_0", error=RankFilesError, layout=layout, model=GAP)
        if layout in DEEPSPEED
        else fault("a gap in layers", "layers.1", layout=layout, model=GAP)
        for layout in UNSTACKED
    ),
    *(
        fault(
            "the last layer lost",
            "num_layers (3, but 2: files hold 2)",
            layout=layout,
            model=changed({"layers.2.*": None}),
        )
        for layout in ("encoder", "core")
    ),
]
MORE_THAN_ONCE = [
    fault(
        "replicas that differ",
        f"unlike between ranks: {DOWN}.bias",
        layout="core",
        tp=2,
        edit=at("mp_rank_01", "model", f"{CORE_DOWN}.bias", to=more),
    ),
    *(
        fault(
            "a tied head that differs",
            "unlike the word embedding it is tied to",
            layout=layout,
            pp=2,
            edit=at("mp_rank_00_001", "model", *head, to=more),
        )
        for layout, head in (
            ("core", ("output_layer.weight",)),
            ("encoder", ("word_embeddings_for_head", "weight")),
        )
    ),
    fault(
        "two stages hold it differently",
        "unlike its copy: position_embeddings.weight",
        layout="core",
        pp=2,
        edit=at("mp_rank_00_001", "model", POSITION, to=torch.ones(8, 16)),
    ),
    fault(
        "under two names",
        "twice under different names: layers.1.mlp.dense_4h_to_h.bias",
        "(in mp_rank_00/model_optim_rng.pt)",
        layout="core",
        edit=at("mp_rank", "model", f"module.{CORE_DOWN}.bias", to=torch.ones(16)),
    ),
    fault(
        "under two prefixes",
        f"twice under different names: word_embeddings.weight (model.{WORD}",
        f" and model.module.{WORD})",
        layout="torch_dcp",
        edit=at("entries", f"model.module.{WORD}", to=[((0, 0), torch.ones(32, 16))]),
    ),
    fault(
        "stacked and of one layer",
        "twice under different names: layers.0.mlp.dense_4h_to_h.bias",
        layout="torch_dist",
        edit=at("entries", "decoder.layers.0.mlp.linear_fc2.bias", to=[((0,), torch.ones(16))]),
    ),
    fault(
        "in two layer files",
        "position_embeddings.weight (again in layer_06-model_00-model_states.pt)",
        layout="bigscience",
        edit=at("layer_06", "position_embeddings.weight", to=torch.ones(8, 16)),
    ),
    fault(
        "chunks that overlap",
        WORD,
        error=ChunksError,
        layout="torch_dist",
        tp=2,
        edit=at("entries", WORD, to=lambda held: [held[0], ((8, 0), held[1][1])]),
    ),
]
ARGS_AND_FACTS = [
    fault(
        "args that the tensors contradict",
        "args disagree: hidden_size (64, but 16",
        "args disagree: padded_vocab_size (48, but 32",
        layout="encoder",
        args={"hidden_size": 64, "kv_channels": None, "padded_vocab_size": 48},
    ),
    *(
        fault(
            f"{cut[:2]} ranks of two iterations",
            "ranks disagree: iteration (in mp_rank_0",
            ": 8, but 7 in mp_rank_00",
            layout=layout,
            edit=at(file, "iteration", to=8),
            **{cut: 2},
        )
        for layout, cut, file in (
            ("encoder", "tp", "mp_rank_01"),
            ("encoder", "pp", "mp_rank_00_001"),
            ("deepspeedai", "tp", "mp_rank_01"),
        )
    ),
    fault(
        "ranks of two versions",
        "checkpoint_version (in mp_rank_01_model_states.pt: 2.0, but 3.0 in mp_rank_00_model",
        layout="deepspeedai",
        tp=2,
        edit=at("mp_rank_01", "checkpoint_version", to=2.0),
    ),
    fault(
        "old names and no version",
        "DeepSpeed layer files are from after 2020-09-10",
        error=AmbiguousVersionError,
        layout="deepspeedai",
        with_args=False,
        edit=unversioned_with_old_names,
    ),
]
WHOLE = THREE.tensors[f"{DOWN}.weight"]
ALL_AT_ONCE = [
    fault(
        "all of it in one error",
        "missing: word_embeddings.weight",
        "missing: final_layernorm.bias",
        "missing: layers.0.input_layernorm.weight",
        "wrong shape: layers.0.mlp.dense_4h_to_h.weight ([1, 16, 64], expected [16, 64])",
        f"wrong shape: {DOWN}.weight ([64, 16], expected [16, 64])",
        "wrong shape: layers.2.mlp.dense_4h_to_h.weight ([15, 64], expected [16, 64])",
        "wrong dtype: layers.2.mlp.dense_h_to_4h.bias (I8",
        *(() if layout == "torch_dcp" else ("extra: ", "adapter.weight")),
        layout=layout,
        model=changed(
            {
                "word_embeddings.weight": None,
                "final_layernorm.bias": None,
                "layers.0.input_layernorm.weight": None,
                "layers.0.mlp.dense_4h_to_h.weight": WHOLE[None].clone(),
                "layers.1.mlp.dense_4h_to_h.weight": WHOLE.T.contiguous(),
                "layers.2.mlp.dense_4h_to_h.weight": WHOLE[:-1].clone(),
                "layers.2.mlp.dense_h_to_4h.bias": torch.ones(64, dtype=torch.int8),
            }
        ),
        edit=added("adapter.weight"),
    )
    for layout in UNSTACKED
]


@pytest.mark.parametrize(
    "wrong", [*ONE_TENSOR, *LAYERS, *MORE_THAN_ONCE, *ARGS_AND_FACTS, *ALL_AT_ONCE]
)
def test_what_is_wrong_in_the_files_is_named(wrong: Fault, tmp_path: Path) -> None:
    wrong.assert_named(tmp_path)
