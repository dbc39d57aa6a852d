"""Not GPT-2, BERT or T5: refused with the feature that GPT-2 cannot express, and no false alarm."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.checkpoint.features import UnsupportedModelError
from megaport.checkpoint.open import open_checkpoint
from megaport.errors import MegaportError
from support.edits import added
from support.megatron_files import write_checkpoint
from support.reading import TINY, changed, refused

FEATURES = [
    ({"position_embedding_type": "rope"}, "rotary position embeddings"),
    ({"use_rotary_position_embeddings": True}, "rotary position embeddings"),
    ({"position_embedding_type": "none"}, "no learned absolute position"),
    ({"normalization": "RMSNorm"}, "RMSNorm"),
    ({"swiglu": True}, "SwiGLU"),
    ({"add_bias_linear": False}, "linear layers without biases"),
    ({"group_query_attention": True, "num_query_groups": 2}, "GQA/MQA"),
    ({"apply_residual_connection_post_layernorm": True}, "post-LayerNorm residual"),
    ({"num_experts": 8}, "MoE"),
    ({"kv_channels": 8}, "attention heads unlike"),
    ({"qk_layernorm": True}, "LayerNorm on queries and keys"),
    ({"num_unique_layers": 1}, "layers that share parameters"),
]


@pytest.mark.parametrize(("args", "feature"), FEATURES, ids=lambda value: str(value)[:50])
@pytest.mark.parametrize("layout", ["encoder", "core", "torch_dist", "bigscience"])
def test_not_gpt2_is_refused_by_feature_from_args(
    layout: str, args: dict[str, Any], feature: str, tmp_path: Path
) -> None:
    message = refused(tmp_path, error=UnsupportedModelError, layout=layout, args=args)
    assert feature in message
    assert any(argument in message for argument in args)


TENSOR_FEATURES = [
    ("language_model.embedding.tokentype_embeddings.weight", "BERT"),
    ("lm_head.dense.weight", "BERT"),
    ("language_model.pooler.dense.weight", "BERT"),
    ("language_model.decoder.layers.0.inter_attention.dense.weight", "T5"),
    ("language_model.encoder.layers.0.mlp.local_experts.0.dense.weight", "MoE"),
    ("language_model.encoder.layers.0.self_attention.rotary_emb.inv_freq", "rotary"),
    ("language_model.embedding.word_embeddings.norm.weight", "LayerNorm on the embedding"),
]


@pytest.mark.parametrize(("name", "feature"), TENSOR_FEATURES)
def test_not_gpt2_is_refused_by_feature_from_tensors(
    name: str, feature: str, tmp_path: Path
) -> None:
    form = {"layout": "encoder", "with_args": False, "edit": added(name)}
    message = refused(tmp_path, error=UnsupportedModelError, **form)
    assert feature in message
    assert name in message


GATED = {"*.dense_h_to_4h.weight": torch.ones(128, 16), "*.dense_h_to_4h.bias": torch.ones(128)}
SHAPE_FEATURES = [
    (GATED, "SwiGLU"),
    ({"*.attention.*.bias": None, "*.mlp.*.bias": None}, "without biases"),
    ({"*layernorm.bias": None}, "RMSNorm"),
    ({"position_embeddings.weight": None}, "position"),
]


@pytest.mark.parametrize(("tensors", "feature"), SHAPE_FEATURES, ids=lambda v: str(v)[:15])
@pytest.mark.parametrize("layout", ["transformer", "core", "torch_dist", "deepspeedai"])
def test_not_gpt2_is_refused_by_feature_from_shapes(
    layout: str, tensors: dict[str, Any], feature: str, tmp_path: Path
) -> None:
    assert feature in refused(tmp_path, changed(tensors), MegaportError, layout=layout)


def test_grouped_queries_are_refused_without_args(tmp_path: Path) -> None:
    def group(_: str, state: dict[str, Any]) -> None:
        held = state["model"]
        held |= {key: held[key][:32].clone() for key in held if "linear_qkv" in key}

    form = {"layout": "core", "with_args": False, "edit": group}
    assert "GQA/MQA" in refused(tmp_path, error=UnsupportedModelError, **form)


def test_deepspeeds_sparse_attention_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", TINY, layout="encoder")
    sparse = {"sparse_attention": {"mode": "alternating"}}
    (path / "deepspeed_config.json").write_text(json.dumps(sparse))
    with pytest.raises(UnsupportedModelError, match=r"sparse attention .*deepspeed_config\.json"):
        open_checkpoint(path, spool=tmp_path)
    (path / "deepspeed_config.json").write_text(json.dumps({"fp16": {"enabled": True}}))
    open_checkpoint(path, spool=tmp_path)
