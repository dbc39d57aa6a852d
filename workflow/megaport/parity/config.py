"""config.json against what the checkpoint says of the architecture."""

from pathlib import Path
from typing import Any

from transformers import GPT2Config

from megaport.parity.activation import ACTIVATIONS
from megaport.parity.converted import unreadable
from megaport.parity.verdict import Measure, Verdict, equal, judge
from megaport.table import Architecture

SAME = ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "layer_norm_epsilon")
SIZES = ("n_layer", "n_embd", "n_inner", "n_positions", "vocab_size")
# What GPT2Config can switch on and Megatron's GPT-2 has not (GPT2Config's defaults).
FIXED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


def check_config(architecture: Architecture, model_dir: Path) -> Verdict:
    """Every GPT2Config field that changes the mathematics.

    ModelUnreadableError when there is no config.json that transformers reads.
    """
    try:
        config: Any = GPT2Config.from_pretrained(model_dir, local_files_only=True)
    except (OSError, ValueError) as error:
        raise unreadable(model_dir, "config.json", str(error)) from error
    measures = [equal(name, getattr(config, name), getattr(architecture, name)) for name in SAME]
    measures.append(equal("n_inner", config.n_inner or 4 * config.n_embd, architecture.n_inner))
    measures.append(_activation(config.activation_function, architecture.activation_function))
    for name, value in {**FIXED, "tie_word_embeddings": architecture.tie_word_embeddings}.items():
        measures.append(equal(name, str(bool(getattr(config, name))), str(value)))
    off = config.vocab_size - architecture.vocab_size
    return judge(
        "config",
        "Does config.json describe the checkpoint's architecture?",
        measures,
        reason="these are names and whole numbers; any other value is another model",
        note=f"vocabulary off by {'one' if abs(off) == 1 else off}" if off else "",
    )


def sizes_agree(verdict: Verdict) -> bool:
    """Whether both sides have arrays of the same shapes, so that they can be run and compared."""
    return all(measure.holds for measure in verdict.measures if measure.quantity in SIZES)


def _activation(seen: str, expected: str) -> Measure:
    """Two names of one function are the same: GPT2Config has three for the tanh form."""
    same = ACTIVATIONS.get(seen) is ACTIVATIONS.get(expected)
    return equal("activation_function", expected if same else seen, expected)
