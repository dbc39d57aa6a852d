"""Which activation ran during training, from the args and the time they were written."""

from collections.abc import Mapping
from typing import Any

from megaport.decide import PREFIX, Facts, conflict
from megaport.table import Decision

KEY = f"{PREFIX}.activation_function"
ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu")
# transformers' names. gelu_new, gelu_fast and gelu_pytorch_tanh are one function to 1e-5, so the
# tanh GELU is always called what GPT-2's own config calls it.
TANH, ERF = "gelu_new", "gelu"


def decide_activation(facts: Facts) -> Decision:
    """GPT2Config's `activation_function` and why; `ArchitectureError` for one it does not know.

    Megatron core's MLP never looks at `openai_gelu`. The dates are those of NVIDIA/Megatron-LM's
    history: 3ea5491 (2020-04-14) brought `openai_gelu` and the erf GELU, 51a2e6b (2020-09-11)
    `bias_gelu_fusion`, 9acc895 (2021-01-06) made that the default.
    """
    value, reason = _of_args(facts.args, core=facts.core)
    chosen = facts.given.get("activation_function", value)
    if chosen not in ACTIVATIONS:
        raise conflict("activation_function", chosen, f"one of {ACTIVATIONS}", "Remove the key")
    if "activation_function" in facts.given:
        reason = f"config; without it {value}: {reason}"
    return Decision("activation_function", chosen, reason, KEY)


def _of_args(args: Mapping[str, Any] | None, *, core: bool) -> tuple[str, str]:
    if core:
        return _of_core(args or {})
    if args is None:
        return TANH, "no args: GPT-2's tanh GELU, as in every Megatron before 2020-04-14"
    return _of_legacy(args)


def _of_core(args: Mapping[str, Any]) -> tuple[str, str]:
    if args.get("use_te_activation_func"):
        return TANH, "use_te_activation_func: Transformer Engine's GELU is the tanh one"
    if "bias_gelu_fusion" not in args:
        return TANH, "args do not say; bias_gelu_fusion, which is the tanh GELU, is the default"
    if args["bias_gelu_fusion"]:
        return TANH, "bias_gelu_fusion: Megatron core's fused kernel is the tanh GELU"
    return ERF, "no bias_gelu_fusion: Megatron core runs torch's erf GELU (it ignores openai_gelu)"


def _of_legacy(args: Mapping[str, Any]) -> tuple[str, str]:
    if args.get("openai_gelu"):
        return TANH, "openai_gelu: the tanh GELU"
    if args.get("bias_gelu_fusion"):
        return TANH, "bias_gelu_fusion: the fused kernel is the tanh GELU"
    if not {"openai_gelu", "bias_gelu_fusion"} & args.keys():
        return TANH, "args without openai_gelu are from before 2020-04-14: the tanh GELU"
    return ERF, "neither openai_gelu nor bias_gelu_fusion: torch's erf GELU"
