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
from support.megatron_names import core
from support.read_back import as_torch

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
    return core(name, "core", int(number) if number else None)
