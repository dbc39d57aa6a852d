"""NeMo 1.x, imitated from its sources' layouts: archives, rank folders, Lightning's checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.features import UnsupportedModelError
from megaport.checkpoint.inspect import own_tokenizer
from megaport.checkpoint.open import open_checkpoint
from support.archives import tarred
from support.llama_files import Llama
from support.megatron_files import write_checkpoint
from support.megatron_model import Model, core_name, legacy_name
from support.reading import assert_holds
from support.torchfiles import saved

CONFIG = {
    "num_layers": 2,
    "hidden_size": 16,
    "ffn_hidden_size": 64,
    "num_attention_heads": 4,
    "max_position_embeddings": 8,
    "layernorm_epsilon": 1e-5,
    "activation": "gelu",
    "normalization": "layernorm",
    "transformer_block_type": "pre_ln",
    "position_embedding_type": "learned_absolute",
    "attention_type": "multihead",
    "headscale": False,
    "normalize_attention_scores": True,
    "kv_channels": None,
    "bias": True,
    "share_embeddings_and_output_weights": True,
    "native_amp_init_scale": 4294967296,
    "use_scaled_init_method": True,
    "apply_query_key_layer_scaling": True,
    "fp32_residual_connection": False,
    "megatron_amp_O2": False,
    "tokenizer": {"library": "megatron", "type": "GPT2BPETokenizer"},
}


def state(model: Model, rank: int = 0, ranks: int = 1, names: str = "encoder") -> dict[str, Any]:
    place = core_name if names == "core" else legacy_name
    return {
        f"model.{place(name, names, _layer(name))}": model.shard(name, rank, ranks, 3)
        for name in model.tensors
    }


def _layer(name: str) -> int | None:
    return int(name.split(".")[1]) if name.startswith("layers.") else None


def archive(path: Path, config: dict[str, Any], **files: bytes) -> Path:
    path.write_bytes(tarred({"model_config.yaml": yaml.safe_dump(config).encode(), **files}))
    return path


@pytest.mark.parametrize("names", ["encoder", "core"])
def test_an_archive_is_read_with_its_configuration(names: str, tmp_path: Path) -> None:
    model = Model()
    weights = {"model_weights.ckpt": saved(state(model, names=names), "zip")}
    checkpoint = open_checkpoint(archive(tmp_path / "m.nemo", CONFIG, **weights), spool=tmp_path)
    assert checkpoint.family == "nemo"
    assert_holds(checkpoint, model)
    architecture = describe_architecture(checkpoint, {})
    assert (architecture.n_head, architecture.activation_function) == (4, "gelu_new")
    assert not [d for d in checkpoint.decisions if d.subject == "unknown arguments"]


@pytest.mark.parametrize("folder", ["mp_rank_{:02d}", "tp_rank_{:02d}_pp_rank_000"])
def test_rank_folders_are_joined(folder: str, tmp_path: Path) -> None:
    model = Model()
    ranks = {
        f"{folder.format(rank)}/model_weights.ckpt": saved(state(model, rank, 2), "zip")
        for rank in range(2)
    }
    path = archive(tmp_path / "m.nemo", CONFIG | {"tensor_model_parallel_size": 2}, **ranks)
    assert_holds(open_checkpoint(path, spool=tmp_path), model)


def test_a_lightning_checkpoint_says_its_sizes_itself(tmp_path: Path) -> None:
    model = Model()
    tree = {
        "state_dict": state(model),
        "hyper_parameters": {"cfg": CONFIG | {"normalization": "layernorm1p"}},
        "global_step": 9,
        "optimizer_states": [{"state": {0: torch.ones(3)}}],
    }
    path = tmp_path / "gpt.ckpt"
    path.write_bytes(saved(tree, "zip"))
    checkpoint = open_checkpoint(path, spool=tmp_path)
    assert_holds(checkpoint, model)
    assert describe_architecture(checkpoint, {}).layernorm_1p
    assert checkpoint.iteration == 9


@pytest.mark.parametrize(
    ("said", "feature"),
    [
        ({"normalization": "rmsnorm"}, "RMSNorm"),
        ({"activation": "swiglu"}, "another activation"),
        ({"position_embedding_type": "rope"}, "rotary"),
    ],
    ids=str,
)
def test_what_the_configuration_asks_for_is_refused(
    said: dict[str, Any], feature: str, tmp_path: Path
) -> None:
    weights = {"model_weights.ckpt": saved(state(Model()), "zip")}
    path = archive(tmp_path / "m.nemo", CONFIG | said, **weights)
    with pytest.raises(UnsupportedModelError, match=feature):
        open_checkpoint(path, spool=tmp_path)


def test_an_archives_own_tokenizer_is_brought_along(tmp_path: Path) -> None:
    weights = {"model_weights.ckpt": saved(state(Model()), "zip")}
    both = {"0a1b_gpt2-vocab.json": b"{}", "0a1b_gpt2-merges.txt": b"#version: 0.2\n"}
    path = archive(tmp_path / "both.nemo", CONFIG, **weights, **both)
    assert own_tokenizer(path, spool=tmp_path) == {
        "vocab.json": b"{}",
        "merges.txt": b"#version: 0.2\n",
    }
    one = archive(tmp_path / "one.nemo", CONFIG, **weights, **{"a_vocab.json": b"{}"})
    assert own_tokenizer(one, spool=tmp_path) == {}
    several = archive(tmp_path / "two.nemo", CONFIG, **weights, **both, **{"b_vocab.json": b""})
    assert own_tokenizer(several, spool=tmp_path) == {}


def test_a_gelu_that_is_said_not_to_be_fused_is_not(tmp_path: Path) -> None:
    weights = {"model_weights.ckpt": saved(state(Model()), "zip")}
    path = archive(tmp_path / "m.nemo", CONFIG | {"bias_gelu_fusion": False}, **weights)
    checkpoint = open_checkpoint(path, spool=tmp_path)
    assert describe_architecture(checkpoint, {}).activation_function == "gelu"


LLAMAS = {
    **{"num_layers": 2, "hidden_size": 16, "ffn_hidden_size": 12, "num_attention_heads": 4},
    **{"num_query_groups": 2, "kv_channels": 4, "normalization": "rmsnorm", "bias": False},
    **{"activation": "fast-swiglu", "position_embedding_type": "rope", "rotary_base": 5e5},
    **{"layernorm_epsilon": 1e-6, "max_position_embeddings": 32},
    **{"scale_positional_embedding": True},
}


@pytest.mark.parametrize("layout", ["torch_dist", "core"])
def test_a_configuration_beside_distributed_or_cores_files_is_read(
    layout: str, tmp_path: Path
) -> None:
    def lose(_: str, saved: dict[str, Any]) -> None:
        saved.pop("args", None)

    model = Llama()
    folder = write_checkpoint(tmp_path / "c", model, layout=layout, edit=lose) / "iter_0000007"
    (folder / "model_config.yaml").write_text(yaml.safe_dump(LLAMAS))
    checkpoint = open_checkpoint(folder, spool=tmp_path)
    found = describe_architecture(checkpoint, {})
    assert (found.n_head, found.rope_theta, found.layer_norm_epsilon) == (4, 5e5, 1e-6)
    assert found.rope_scaling and found.rope_scaling["rope_type"] == "llama3"
    assert {d.subject: d.value for d in checkpoint.decisions}["args"] == "model_config.yaml"
    assert "unknown arguments" not in {d.subject for d in checkpoint.decisions}
