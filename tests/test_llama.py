"""Llama, Qwen2 and Qwen3 from Megatron core: the logits of the code that wrote them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from megaport.checkpoint.features import UnsupportedModelError
from support.llama_files import LAYOUTS, Llama
from support.llama_models import converted, is_written
from support.megatron_files import write_checkpoint
from support.oracles import LLAMAS, folders_of

CASES = folders_of(LLAMAS)
TYPES = {"llama": "llama", "llama31": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_logits_are_megatrons(case: Path, tmp_path: Path) -> None:
    _, out = converted(case, tmp_path)
    said = json.loads((case / "config.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(
        out, dtype="auto", attn_implementation="eager"
    ).eval()
    assert model.config.model_type == TYPES[case.name.split("_")[0]]
    with torch.no_grad():
        logits = model(torch.tensor(np.load(case / "input_ids.npy"))).logits.float().numpy()
    expected = np.load(case / "logits.npy")[..., : said["vocab"]]
    limit = 5e-2 if said.get("dtype") == "bf16" else 5e-5
    assert np.abs(logits - expected).max() < limit


@st.composite
def llamas(draw: st.DrawFn) -> tuple[Llama, dict[str, Any]]:
    layout = draw(st.sampled_from(LAYOUTS))
    tp = draw(st.sampled_from((1, 2, 4)))
    ranked = layout in ("core", "core_te")
    pp, vp = (draw(st.integers(1, 2)) for _ in range(2)) if ranked else (1, 1)
    vp = vp if pp > 1 else 1
    # A stage may hold no layer, as where the embedding counts for one.
    stages = draw(st.lists(st.integers(0, 2), min_size=pp * vp, max_size=pp * vp).filter(any))
    groups = tp * draw(st.integers(1, 2))
    bias = draw(st.booleans())
    padded = tp * draw(st.integers(2, 5))
    model = Llama(
        layers=sum(stages),
        heads=groups * draw(st.integers(1, 3)),
        groups=groups,
        size=draw(st.integers(1, 3)) * 2,
        hidden=draw(st.integers(2, 5)) * 2,
        inner=tp * draw(st.integers(2, 4)),
        padded=padded,
        vocab=draw(st.integers(1, padded)),
        bias=bias,
        norm=not bias and draw(st.booleans()),
        untied=draw(st.booleans()),
    )
    args = {"tensor_model_parallel_size": tp}
    form = {"layout": layout, "tp": tp, "pp": pp, "vp": vp, "stage_layers": stages, "args": args}
    return model, form


@settings(max_examples=80, deadline=None, derandomize=True)
@given(case=llamas())
def test_any_sizes_ranks_and_formats_are_read_bit_for_bit(
    case: tuple[Llama, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model, form = case
    folder = tmp_path_factory.mktemp("llama")
    path = write_checkpoint(folder / "c", model, **form)
    architecture, out = converted(path, folder)
    assert (architecture.n_head, architecture.groups, architecture.width) == (
        model.heads,
        model.groups,
        model.size,
    )
    assert is_written(model, out)


def test_more_ranks_than_groups_are_put_together(tmp_path: Path) -> None:
    model = Llama(groups=1)
    path = write_checkpoint(tmp_path / "c", model, layout="torch_dist", tp=2)
    assert is_written(model, converted(path, tmp_path)[1])


@pytest.mark.parametrize(
    ("args", "feature"),
    [
        ({"rotary_interleaved": True}, "interleaved rotary"),
        ({"rotary_percent": 0.5}, "partial rotary"),
        ({"position_embedding_type": "none"}, "positions that are not rotary"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "another rotary scaling"),
        ({"rope_scaling_type": "yarn"}, "another rotary scaling"),
        ({"num_experts": 8}, "MoE"),
        ({"multi_latent_attention": True}, "multi-latent"),
        ({"squared_relu": True}, "squared ReLU"),
        ({"swiglu": False}, "without a gate"),
        ({"normalization": "LayerNorm"}, "LayerNorm"),
        ({"add_bias_linear": True}, "biases"),
        ({"qk_l2_norm": True}, "normalised queries"),
        ({"softmax_scale": 0.1}, "softmax scale"),
        ({"use_mup": True}, "muP"),
        ({"embedding_multiplier": 12.0}, "scaled embedding"),
        ({"no_rope_freq": 4}, "without rotary"),
        ({"window_size": (7, 0), "window_attn_skip_freq": 2}, "with and without a window"),
        ({"heterogeneous_layers_config_path": "x"}, "unlike each other"),
        ({"mtp_num_layers": 1}, "multi-token"),
        ({"softmax_type": "learnable"}, "offset"),
        ({"activation_func": {"_target_": "torch.nn.functional.gelu"}}, "SiLU"),
        ({"position_embedding_type": "yarn"}, "not rotary"),
        ({"num_moe_experts": 8}, "MoE"),
    ],
    ids=str,
)
def test_what_no_class_expresses_is_refused_by_name(
    args: dict[str, Any], feature: str, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "c", Llama(), layout="core", args=args)
    with pytest.raises(UnsupportedModelError, match=feature):
        converted(path, tmp_path)


# What run_config.yaml of Megatron-Bridge says below `model`, and NeMo's model.yaml below `config`.
STATED = {
    "_target_": "megatron.bridge.models.llama.llama_provider.Llama31ModelProvider",
    "activation_func": {"_call_": False, "_target_": "torch.nn.functional.silu"},
    "add_bias_linear": False,
    "bias_activation_fusion": True,
    "gated_linear_unit": True,
    "init_method": {"_args_": [], "_partial_": True, "_target_": "torch.nn.init.normal_"},
    "kv_channels": 4,
    "layernorm_epsilon": 1e-6,
    "normalization": "RMSNorm",
    "num_attention_heads": 4,
    "num_layers": 2,
    "num_query_groups": 2,
    "params_dtype": {"_call_": False, "_target_": "torch.bfloat16"},
    "position_embedding_type": "rope",
    "rotary_base": 500000.0,
    "rotary_interleaved": False,
    "seq_length": 131072,
    "share_embeddings_and_output_weights": True,
    "tensor_model_parallel_size": 2,
    "vocab_size": 13,
}
NEMO = {
    "scale_factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "old_context_len": 4096,
}


def stated(folder: Path, file: str, key: str, said: dict[str, Any]) -> Path:
    """A torch_dist checkpoint without args, whose `file` states it below `key`."""
    path = write_checkpoint(folder / "c", Llama(), layout="torch_dist", tp=2)
    (path / "latest_checkpointed_iteration.txt").unlink()
    weights = path / ("weights" if "context" in file else "iter_0000007")
    (path / "iter_0000007").rename(weights)
    torch.save({"iteration": 7, "checkpoint_version": 3.0}, weights / "common.pt")
    place = path / file if "context" in file else weights / file
    place.parent.mkdir(exist_ok=True)
    place.write_text(yaml.safe_dump({key: said, "optim": None}))
    return path


@pytest.mark.parametrize(
    ("file", "key"), [("run_config.yaml", "model"), ("context/model.yaml", "config")]
)
@pytest.mark.parametrize(
    ("said", "scaling"),
    [
        (NEMO, ("llama3", 32.0, 4096)),
        ({"rope_scaling": True, "rope_scaling_factor": 8.0}, ("llama3", 8.0, 8192)),
        ({"seq_len_interpolation_factor": 4}, ("linear", 4.0, None)),
        ({"rope_scaling": False, "window_size": [7, 0]}, ("default", None, None)),
    ],
    ids=["scale_factor", "rope_scaling", "interpolation", "window"],
)
def test_nemo_and_bridge_state_the_model_in_a_file_beside_it(
    file: str, key: str, said: dict[str, Any], scaling: tuple[Any, ...], tmp_path: Path
) -> None:
    architecture, out = converted(stated(tmp_path, file, key, STATED | said), tmp_path)
    assert is_written(Llama(), out)
    config = AutoConfig.from_pretrained(out)
    rope = config.rope_parameters
    names = ("rope_type", "factor", "original_max_position_embeddings")
    assert tuple(map(rope.get, names)) == scaling
    assert (rope["rope_theta"], config.rms_norm_eps) == (500_000, 1e-6)
    assert config.max_position_embeddings == 131072
    assert config.model_type == ("mistral" if "window_size" in said else "llama")
    assert not [d for d in architecture.decisions if d.subject == "unknown arguments"]
