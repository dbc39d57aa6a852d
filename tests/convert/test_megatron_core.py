"""megatron-core from PyPI writes a checkpoint here and now, or loads ours, and computes the same.

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
from transformers import AutoModelForCausalLM

from megaport.checkpoint.model import TORCH_DIST
from megaport.convert.export import export_checkpoint
from megaport.parity.reference import Reference
from support.megatron_model import as_torch, core_name
from support.subjects import convert, read, small

HEADS, HIDDEN, LAYERS, POSITIONS, VOCABULARY = 4, 48, 3, 16, 64
SIZES = {"num_layers": LAYERS, "hidden_size": HIDDEN, "num_attention_heads": HEADS}
SAID = {"max_position_embeddings": POSITIONS, "padded_vocab_size": VOCABULARY}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"add_qkv_bias": True},
    "qwen3": {"qk_layernorm": True, "kv_channels": 20},
    "mistral": {"window_size": (3, 0)},
}


@pytest.fixture(autouse=True)
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


def gpt(config: dict[str, Any], spec: dict[str, Any] | None = None, **model: Any) -> Any:
    """A GPTModel of the local spec, all parameters random so that none can hide."""
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer import TransformerConfig

    torch.manual_seed(0)
    chosen = TransformerConfig(
        use_cpu_initialization=True,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        masked_softmax_fusion=False,
        **{"bias_activation_fusion": False, **config},
    )
    sizes = {"vocab_size": VOCABULARY, "max_sequence_length": POSITIONS}
    made = GPTModel(chosen, get_gpt_layer_local_spec(**spec or {}), **{**sizes, **model}).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made


def written(model: Any, args: dict[str, Any], folder: Path) -> Reference:
    """What is read of the torch_dist that megatron-core writes of `model`."""
    from megatron.core import dist_checkpointing

    (folder / "saved").mkdir()
    state = model.sharded_state_dict()
    state |= {"args": Namespace(**args), "checkpoint_version": 3.0, "iteration": 1}
    dist_checkpointing.save(state, str(folder / "saved"))
    return read(folder / "saved", folder, {})


def assert_computes_the_same(megatron: Any, out: Path, window: int = POSITIONS) -> None:
    """`window`: how many tokens before it a token sees."""
    loaded = AutoModelForCausalLM.from_pretrained(out, attn_implementation="eager").eval()
    vocabulary, positions = loaded.config.vocab_size, loaded.config.max_position_embeddings
    positions = min(positions, POSITIONS)
    ids = torch.from_numpy(np.random.default_rng(0).integers(vocabulary, size=(2, positions)))
    places = torch.arange(positions)
    before = places[:, None] - places[None]
    unseen = ((before < 0) | (before > window))[None, None]
    with torch.no_grad():
        found = megatron(ids, places[None].expand(2, -1), unseen)[..., :vocabulary]
        torch.testing.assert_close(found, loaded(ids).logits, atol=5e-5, rtol=0)


def test_torch_dist_of_megatron_core_is_read_and_computes_the_same(tmp_path: Path) -> None:
    model = gpt(SIZES)
    args = SIZES | SAID | {"bias_gelu_fusion": False}
    subject = written(model, args, tmp_path)
    assert subject.checkpoint.family == TORCH_DIST
    assert subject.architecture.activation_function == "gelu"
    state = model.state_dict()
    for name, (tensor,) in subject.checkpoint.tensors.items():
        assert torch.equal(as_torch(tensor), state[_native(name)]), name
    convert(subject, tmp_path / "out")
    assert_computes_the_same(model, tmp_path / "out")


def _native(name: str) -> str:
    number = name.split(".")[1] if name.startswith("layers.") else None
    return core_name(name, "core", int(number) if number else None)


def llama(kind: str) -> tuple[Any, dict[str, Any]]:
    """A GPTModel as Llama's, and the args that say so."""
    said = {
        **SIZES,
        "ffn_hidden_size": 80,
        "num_query_groups": 2,
        "add_bias_linear": False,
        "normalization": "RMSNorm",
        "layernorm_epsilon": 1e-6,
        **KINDS[kind],
    }
    activation = {"gated_linear_unit": True, "activation_func": torch.nn.functional.silu}
    rope = {"position_embedding_type": "rope", "rotary_base": 5000}
    model = gpt(
        {**said, **activation, "apply_rope_fusion": False},
        {"qk_layernorm": kind == "qwen3", "normalization": "RMSNorm"},
        share_embeddings_and_output_weights=False,
        **rope,
    )
    args = said | SAID | rope | {"norm_epsilon": said["layernorm_epsilon"], "swiglu": True}
    args |= {"group_query_attention": True, "untie_embeddings_and_output_weights": True}
    return model, args


@pytest.mark.parametrize("kind", KINDS)
def test_llamas_of_megatron_core_are_read_and_compute_the_same(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The mask of a window is made on a GPU; its numbers are the same here.
    ones = torch.ones
    monkeypatch.setattr(
        torch, "ones", lambda *a, **k: ones(*a, **{n: v for n, v in k.items() if n != "device"})
    )
    model, args = llama(kind)
    subject = written(model, args, tmp_path)
    assert subject.architecture.model_type == kind
    convert(subject, tmp_path / "out")
    window = KINDS[kind].get("window_size", (POSITIONS, 0))[0]
    assert_computes_the_same(model, tmp_path / "out", window)


@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("activation", ["gelu_new", "gelu"])
def test_megatron_core_loads_an_export_strictly_and_computes_the_same(
    tmp_path: Path, untied: bool, activation: str
) -> None:
    """Of the form `core`; the model is built from the exported args alone."""
    subject = small(dtype="F32", untied=untied, activation=activation)
    out = convert(subject, tmp_path / "model")
    export_checkpoint(out, tmp_path / "core", form="core")
    file = tmp_path / "core" / "release" / "mp_rank_00" / "model_optim_rng.pt"
    with torch.serialization.safe_globals([Namespace]):
        state = torch.load(file, weights_only=True)
    args = state["args"]
    config = {name: getattr(args, name) for name in (*SIZES, "ffn_hidden_size")}
    config |= {"layernorm_epsilon": args.norm_epsilon}
    config |= {"bias_activation_fusion": args.bias_gelu_fusion}
    megatron = gpt(
        config,
        vocab_size=args.padded_vocab_size,
        max_sequence_length=args.max_position_embeddings,
        share_embeddings_and_output_weights=not args.untie_embeddings_and_output_weights,
    )
    megatron.load_state_dict(state["model"], strict=True)
    assert_computes_the_same(megatron, out)
