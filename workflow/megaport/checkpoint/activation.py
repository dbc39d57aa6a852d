"""Which activation ran during training, from the args and the time they were written."""

from collections.abc import Mapping
from typing import Any

from megaport.table import Decision

KEY = "architecture.activation_function"
# transformers' names. gelu_new, gelu_fast and gelu_pytorch_tanh are one function to 1e-5, so the
# tanh GELU is always called what GPT-2's own config calls it.
TANH, ERF = "gelu_new", "gelu"


def decide_activation(args: Mapping[str, Any] | None, *, core: bool) -> Decision:
    """The `activation_function` for GPT2Config and why.

    `core` says that Megatron core's MLP ran, which never looks at `openai_gelu`. The dates are
    those of NVIDIA/Megatron-LM's history: 3ea5491 (2020-04-14) brought `openai_gelu` and the erf
    GELU, 51a2e6b (2020-09-11) `bias_gelu_fusion`, 9acc895 (2021-01-06) made that the default.
    """
    if args is None:
        value, reason = TANH, "no args: GPT-2's tanh GELU, as in every Megatron before 2020-04-14"
    elif core:
        value, reason = _of_core(args)
    else:
        value, reason = _of_legacy(args)
    return Decision("activation_function", value, reason, KEY)


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
