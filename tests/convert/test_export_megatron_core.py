"""The `core` form is loaded, strictly, by megatron-core from PyPI and computes the same there."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from megaport.convert.export import export_checkpoint
from support.conversions import convert, small
from support.megatron_core import one_rank


def megatron_gpt(args: Namespace) -> Any:
    """A GPTModel of the local spec, built from the exported args alone."""
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer import TransformerConfig

    config = TransformerConfig(
        num_layers=args.num_layers,
        hidden_size=args.hidden_size,
        num_attention_heads=args.num_attention_heads,
        ffn_hidden_size=args.ffn_hidden_size,
        layernorm_epsilon=args.norm_epsilon,
        bias_activation_fusion=args.bias_gelu_fusion,
        use_cpu_initialization=True,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        masked_softmax_fusion=False,
    )
    return GPTModel(
        config,
        get_gpt_layer_local_spec(),
        vocab_size=args.padded_vocab_size,
        max_sequence_length=args.max_position_embeddings,
        share_embeddings_and_output_weights=not args.untie_embeddings_and_output_weights,
    ).eval()


@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("activation", ["gelu_new", "gelu"])
def test_megatron_core_loads_and_computes_the_same(
    tmp_path: Path, untied: bool, activation: str
) -> None:
    checkpoint, architecture = small(dtype="F32", untied=untied)
    model = tmp_path / "model"
    convert(checkpoint, replace(architecture, activation_function=activation), model)
    export_checkpoint(model, tmp_path / "core", form="core")
    file = tmp_path / "core" / "release" / "mp_rank_00" / "model_optim_rng.pt"
    with torch.serialization.safe_globals([Namespace]):
        state = torch.load(file, weights_only=True)
    ids = torch.arange(16).reshape(2, 8) * 6
    unseen = torch.triu(torch.ones(1, 1, 8, 8, dtype=torch.bool), 1)
    with one_rank(tmp_path), torch.no_grad():
        megatron = megatron_gpt(state["args"])
        megatron.load_state_dict(state["model"], strict=True)
        found = megatron(ids, torch.arange(8)[None].expand(2, -1), unseen)
        expected = AutoModelForCausalLM.from_pretrained(model).eval()(ids).logits
    torch.testing.assert_close(found[..., :101], expected, atol=5e-5, rtol=0)
