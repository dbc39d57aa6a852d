"""A checkpoint that megatron-core from PyPI writes here and now, read bit for bit.

Collected only where megatron-core is installed (`conftest.py`): it is a large package that nothing
else needs. It wants a GPU in three places that a CPU does without; the fixture answers for those.
"""

import contextlib
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.model import TORCH_DIST
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.convert import convert_checkpoint
from support.megatron_model import core_name
from support.reading import as_torch

HEADS, HIDDEN, LAYERS, POSITIONS, VOCABULARY = 4, 48, 3, 16, 64
ARGS = {
    "num_layers": LAYERS,
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "max_position_embeddings": POSITIONS,
    "padded_vocab_size": VOCABULARY,
    "bias_gelu_fusion": False,
}


@pytest.fixture
def one_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """megatron.core's process groups on a machine without a GPU."""
    from megatron.core import parallel_state, tensor_parallel

    class NoDropoutState:
        fork = staticmethod(contextlib.nullcontext)

    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(tensor_parallel, "get_cuda_rng_tracker", NoDropoutState)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1
    )
    parallel_state.initialize_model_parallel()
    yield
    parallel_state.destroy_model_parallel()
    torch.distributed.destroy_process_group()


def gpt() -> Any:
    """A GPTModel of the local spec, all parameters random so that none can hide."""
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer import TransformerConfig

    torch.manual_seed(0)
    config = TransformerConfig(
        num_layers=LAYERS,
        hidden_size=HIDDEN,
        num_attention_heads=HEADS,
        use_cpu_initialization=True,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        bias_activation_fusion=False,
        masked_softmax_fusion=False,
    )
    model = GPTModel(
        config, get_gpt_layer_local_spec(), vocab_size=VOCABULARY, max_sequence_length=POSITIONS
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def saved(model: Any, folder: Path) -> Path:
    from megatron.core import dist_checkpointing

    folder.mkdir()
    state = model.sharded_state_dict()
    state |= {"args": Namespace(**ARGS), "checkpoint_version": 3.0, "iteration": 1}
    dist_checkpointing.save(state, str(folder))
    return folder


def test_torch_dist_of_megatron_core_is_read_and_computes_the_same(
    one_rank: None, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    model = gpt()
    checkpoint = open_checkpoint(saved(model, tmp_path / "saved"), spool=tmp_path)
    architecture = describe_architecture(checkpoint, {})
    assert checkpoint.family == TORCH_DIST
    assert architecture.activation_function == "gelu"
    state = model.state_dict()
    for name, (tensor,) in checkpoint.tensors.items():
        assert torch.equal(as_torch(tensor), state[_native(name)]), name
    out = tmp_path / "converted"
    out.mkdir()
    convert_checkpoint(checkpoint, architecture, out, dtype=None, max_shard_size=None)
    ids = torch.from_numpy(np.random.default_rng(0).integers(VOCABULARY, size=(2, POSITIONS)))
    unseen = torch.triu(torch.ones(1, 1, POSITIONS, POSITIONS, dtype=torch.bool), 1)
    with torch.no_grad():
        expected = model(ids, torch.arange(POSITIONS)[None].expand(2, -1), unseen)
        found = AutoModelForCausalLM.from_pretrained(out).eval()(ids).logits
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=0)


def _native(name: str) -> str:
    number = name.split(".")[1] if name.startswith("layers.") else None
    return core_name(name, "core", int(number) if number else None)


KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"add_qkv_bias": True},
    "qwen3": {"qk_layernorm": True, "kv_channels": 20},
    "mistral": {"window_size": (3, 0)},
}


def llama(kind: str) -> tuple[Any, dict[str, Any]]:
    """A GPTModel of the local spec as Llama's, and the args that say so."""
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer import TransformerConfig

    torch.manual_seed(0)
    said = {
        "num_layers": LAYERS,
        "hidden_size": HIDDEN,
        "num_attention_heads": HEADS,
        "ffn_hidden_size": 80,
        "num_query_groups": 2,
        "add_bias_linear": False,
        "normalization": "RMSNorm",
        "layernorm_epsilon": 1e-6,
        **KINDS[kind],
    }
    config = TransformerConfig(
        **said,
        gated_linear_unit=True,
        activation_func=torch.nn.functional.silu,
        use_cpu_initialization=True,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        bias_activation_fusion=False,
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
    )
    spec = get_gpt_layer_local_spec(qk_layernorm=kind == "qwen3", normalization="RMSNorm")
    model = GPTModel(
        config,
        spec,
        vocab_size=VOCABULARY,
        max_sequence_length=POSITIONS,
        position_embedding_type="rope",
        rotary_base=5000,
        share_embeddings_and_output_weights=False,
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    args = said | {
        "norm_epsilon": said["layernorm_epsilon"],
        "swiglu": True,
        "group_query_attention": True,
        "position_embedding_type": "rope",
        "rotary_base": 5000,
        "untie_embeddings_and_output_weights": True,
        "max_position_embeddings": POSITIONS,
        "padded_vocab_size": VOCABULARY,
    }
    return model, args


@pytest.mark.parametrize("kind", KINDS)
def test_llamas_of_megatron_core_are_read_and_compute_the_same(
    kind: str, one_rank: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from megatron.core import dist_checkpointing
    from transformers import AutoModelForCausalLM

    # The mask of a window is made on a GPU; its numbers are the same here.
    ones = torch.ones
    monkeypatch.setattr(
        torch, "ones", lambda *a, **k: ones(*a, **{n: v for n, v in k.items() if n != "device"})
    )
    model, args = llama(kind)
    path = tmp_path / "saved"
    path.mkdir()
    state = model.sharded_state_dict()
    state |= {"args": Namespace(**args), "checkpoint_version": 3.0, "iteration": 1}
    dist_checkpointing.save(state, str(path))
    checkpoint = open_checkpoint(path, spool=tmp_path)
    architecture = describe_architecture(checkpoint, {})
    assert architecture.model_type == kind
    out = tmp_path / "converted"
    convert_checkpoint(checkpoint, architecture, out, dtype=None, max_shard_size=None)
    ids = torch.from_numpy(np.random.default_rng(0).integers(VOCABULARY, size=(2, POSITIONS)))
    before = torch.arange(POSITIONS)[:, None] - torch.arange(POSITIONS)[None]
    window = KINDS[kind].get("window_size", (POSITIONS, 0))[0]
    unseen = ((before < 0) | (before > window))[None, None]
    with torch.no_grad():
        expected = model(ids, torch.arange(POSITIONS)[None].expand(2, -1), unseen)
        loaded = AutoModelForCausalLM.from_pretrained(out, attn_implementation="eager").eval()
        found = loaded(ids).logits
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=0)
