"""GPT-2: THE table of its tensors, the names they had from 2019 on, and its config.json."""

from collections.abc import Iterator, Mapping
from typing import Any

from megaport.decide import PREFIX, Facts, conflict, epsilon, heads, vocabulary, zero_centred
from megaport.sizes import Shape
from megaport.table import (
    FINAL_NORM,
    HEAD,
    LAYER,
    LOADED_IN,
    WORD,
    Architecture,
    Decision,
    Row,
    Table,
    Transform,
)

COPY, CUT, TRANSPOSE = Transform.COPY, Transform.CUT, Transform.TRANSPOSE
HEADS, HEADS_TRANSPOSE = Transform.HEADS, Transform.HEADS_TRANSPOSE
QKV, DENSE = "attention.query_key_value", "attention.dense"
UP, DOWN = "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"
INPUT_NORM, POST_NORM = "input_layernorm", "post_attention_layernorm"
POSITION = "position_embeddings.weight"
# What Megatron called modules of a layer from January 2021 on, and what Megatron core calls them
# (docs/how-it-works/formats.md, "Where the tensors are"); the table's own names are those of 2019.
SINCE_2021 = {"self_attention.query_key_value": QKV, "self_attention.dense": DENSE}
CORE = {
    "self_attention.linear_qkv": QKV,
    "self_attention.linear_proj": DENSE,
    "pre_mlp_layernorm": POST_NORM,
    "mlp.linear_fc1": UP,
    "mlp.linear_fc2": DOWN,
}
# The id of <|endoftext|> in GPT-2's vocabulary, which begins and ends its texts.
END_OF_TEXT = 50256
NO_POSITIONS = "no learned absolute position embeddings, but none, rotary position embeddings, ..."
NO_BIAS, GATED = "linear layers without biases", "a gated MLP (SwiGLU, GEGLU)"
GQA = "grouped or multi-query attention (GQA/MQA)"
HEAD_SIZE = "attention heads unlike hidden_size / heads"
# transformers' names of GELUs. Those of the tanh are one function to 1e-5, so it is always called
# what GPT-2's own config calls it.
TANHS, ERF = ("gelu_new", "gelu_fast", "gelu_pytorch_tanh"), "gelu"
TANH = TANHS[0]
ACTIVATIONS = (ERF, *TANHS, "relu")
M, G = LAYER, "transformer.h.{n}."


def padded(tokens: int, ranks: int) -> int:
    """Rows of the word embedding for so many tensor-parallel ranks, by Megatron's default."""
    return -(-tokens // (128 * ranks)) * 128 * ranks


def end_of_text(vocab_size: int, padded_vocab_size: int) -> int | None:
    """The id that begins and ends a text, where so many rows are GPT-2's tokens, alone or padded as
    Megatron does for some ranks; None for another vocabulary."""
    tokens = END_OF_TEXT + 1
    paddings = {padded(tokens, ranks) for ranks in range(1, 65)}
    whole = vocab_size == padded_vocab_size and vocab_size in paddings
    return END_OF_TEXT if whole or vocab_size == tokens else None


def config_of(architecture: Architecture) -> dict[str, Any]:
    """GPT2Config's content in the order `save_pretrained` writes (sorted).

    With `n_ctx`, which transformers no longer writes and llama.cpp's converter reads; without
    `transformers_version`, since no transformers wrote it. `n_inner` is null for GPT-2's usual
    4 x n_embd. Dropouts and initializer_range are GPT-2's published ones: Megatron's say nothing
    about the weights.
    """
    usual = architecture.n_inner == 4 * architecture.n_embd
    token = end_of_text(architecture.vocab_size, architecture.padded_vocab_size)
    return {
        "activation_function": architecture.activation_function,
        "add_cross_attention": False,
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": token,
        "dtype": LOADED_IN,
        "embd_pdrop": 0.1,
        "eos_token_id": token,
        "initializer_range": 0.02,
        "layer_norm_epsilon": architecture.layer_norm_epsilon,
        "model_type": "gpt2",
        "n_ctx": architecture.n_positions,
        "n_embd": architecture.n_embd,
        "n_head": architecture.n_head,
        "n_inner": None if usual else architecture.n_inner,
        "n_layer": architecture.n_layer,
        "n_positions": architecture.n_positions,
        "pad_token_id": None,
        "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.1,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "tie_word_embeddings": architecture.tie_word_embeddings,
        "use_cache": True,
        "vocab_size": architecture.vocab_size,
    }


def features_of(layer: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
    """What a layer of such shapes has that GPT-2 has not, and where it shows."""
    # query_key_value may keep its bias alone (add_qkv_bias), so it does not decide.
    if not any(f"{module}.bias" in layer for module in (DENSE, UP, DOWN)):
        yield NO_BIAS, "no bias of a linear layer"
    if not any(f"{norm}.bias" in layer for norm in (INPUT_NORM, POST_NORM)):
        yield "RMSNorm", "no bias of a norm"
    qkv, dense, up, down = (layer.get(f"{module}.weight", ()) for module in (QKV, DENSE, UP, DOWN))
    if len(up) == len(down) == 2 and up[0] == 2 * down[1]:
        yield GATED, f"{UP} has twice the rows that {DOWN} takes"
    if len(qkv) == len(dense) == 2 and dense[1] < qkv[0] < 3 * dense[1]:
        yield GQA, f"{QKV} has fewer than 3 x hidden rows"
    # Narrower is also what one of several tensor-parallel ranks looks like.
    if len(qkv) == len(dense) == 2 and qkv[0] == 3 * dense[1] and dense[1] > qkv[1]:
        yield HEAD_SIZE, f"{QKV} and {DENSE} agree on a larger width"


def describe(facts: Facts) -> Architecture:
    """GPT2Config's numbers; `ArchitectureError` for what nobody states or tensors contradict."""
    sizes = facts.sizes
    stored = {
        "n_layer": (facts.layers, "layers"),
        "n_embd": (sizes["H"], "columns of the word embedding"),
        "n_inner": (sizes["F"], f"rows of {UP}"),
        "n_positions": (sizes["P"], "rows of the position embedding"),
        "tie_word_embeddings": (facts.tied, "whether a head of its own is stored"),
    }
    facts.refuse_contradictions(
        stored, ("n_head", "vocab_size", "activation_function", "layer_norm_epsilon")
    )
    decisions = (
        heads(facts, "n_head", sizes["H"]),
        vocabulary(facts),
        decide_activation(facts),
        epsilon(facts, "layer_norm_epsilon"),
        zero_centred(facts),
    )
    return facts.architecture(decisions, n_positions=sizes["P"])


def decide_activation(facts: Facts) -> Decision:
    """GPT2Config's `activation_function` and why; `ArchitectureError` for one it does not know.

    Megatron core's MLP never looks at `openai_gelu`. The dates are those of NVIDIA/Megatron-LM's
    history: 3ea5491 (2020-04-14) brought `openai_gelu` and the erf GELU, 51a2e6b (2020-09-11)
    `bias_gelu_fusion`, 9acc895 (2021-01-06) made that the default.
    """
    value, reason = _of_core(facts.args or {}) if facts.core else _of_legacy(facts.args)
    chosen = facts.given.get("activation_function", value)
    if chosen not in ACTIVATIONS:
        raise conflict("activation_function", chosen, f"one of {ACTIVATIONS}", "Remove the key")
    if "activation_function" in facts.given:
        reason = f"config; without it {value}: {reason}"
    return Decision("activation_function", chosen, reason, f"{PREFIX}.activation_function")


def _of_core(args: Mapping[str, Any]) -> tuple[str, str]:
    for argument in ("use_te_activation_func", "use_transformer_engine_op_fuser"):
        if args.get(argument):
            return TANH, f"{argument}: Transformer Engine's GELU is the tanh one"
    if "bias_gelu_fusion" not in args:
        return TANH, "args do not say; bias_gelu_fusion, which is the tanh GELU, is the default"
    if args["bias_gelu_fusion"]:
        return TANH, "bias_gelu_fusion: Megatron core's fused kernel is the tanh GELU"
    return ERF, "no bias_gelu_fusion: Megatron core runs torch's erf GELU (it ignores openai_gelu)"


def _of_legacy(args: Mapping[str, Any] | None) -> tuple[str, str]:
    if args is None:
        return TANH, "no args: GPT-2's tanh GELU, as in every Megatron before 2020-04-14"
    if args.get("openai_gelu"):
        return TANH, "openai_gelu: the tanh GELU"
    if args.get("bias_gelu_fusion"):
        return TANH, "bias_gelu_fusion: the fused kernel is the tanh GELU"
    if not {"openai_gelu", "bias_gelu_fusion"} & args.keys():
        return TANH, "args without openai_gelu are from before 2020-04-14: the tanh GELU"
    return ERF, "neither openai_gelu nor bias_gelu_fusion: torch's erf GELU"


# fmt: off
GPT2 = Table(
    kind="a GPT-2: learned positions, LayerNorm, GELU, biases, plain attention",
    # Targets are the names that GPT2LMHeadModel.save_pretrained writes.
    first=(
        Row(WORD,     "transformer.wte.weight", ("V", "H"), ("v", "H"), 0,    CUT),
        Row(POSITION, "transformer.wpe.weight", ("P", "H"), ("P", "H"), None, COPY),
    ),
    layer=(
        Row(M + f"{INPUT_NORM}.weight", G + "ln_1.weight", ("H",), ("H",), None, COPY),
        Row(M + f"{INPUT_NORM}.bias",   G + "ln_1.bias",   ("H",), ("H",), None, COPY),
        Row(M + f"{QKV}.weight", G + "attn.c_attn.weight", ("3H", "H"), ("H", "3H"), 0,
            HEADS_TRANSPOSE),
        Row(M + f"{QKV}.bias",     G + "attn.c_attn.bias",   ("3H",),    ("3H",),    0,    HEADS),
        Row(M + f"{DENSE}.weight", G + "attn.c_proj.weight", ("H", "H"), ("H", "H"), 1, TRANSPOSE),
        Row(M + f"{DENSE}.bias",   G + "attn.c_proj.bias",   ("H",),     ("H",),     None, COPY),
        Row(M + f"{POST_NORM}.weight", G + "ln_2.weight", ("H",), ("H",), None, COPY),
        Row(M + f"{POST_NORM}.bias",   G + "ln_2.bias",   ("H",), ("H",), None, COPY),
        Row(M + f"{UP}.weight",   G + "mlp.c_fc.weight",   ("F", "H"), ("H", "F"), 0,    TRANSPOSE),
        Row(M + f"{UP}.bias",     G + "mlp.c_fc.bias",     ("F",),     ("F",),     0,    COPY),
        Row(M + f"{DOWN}.weight", G + "mlp.c_proj.weight", ("H", "F"), ("F", "H"), 1,    TRANSPOSE),
        Row(M + f"{DOWN}.bias",   G + "mlp.c_proj.bias",   ("H",),     ("H",),     None, COPY),
    ),
    last=(
        Row(f"{FINAL_NORM}.weight", "transformer.ln_f.weight", ("H",), ("H",), None, COPY),
        Row(f"{FINAL_NORM}.bias",   "transformer.ln_f.bias",   ("H",), ("H",), None, COPY),
    ),
    head=Row(HEAD, "lm_head.weight", ("V", "H"), ("v", "H"), 0, CUT),
    modules={
        **SINCE_2021, **CORE,
        # September 2023
        "input_norm": INPUT_NORM, "final_norm": FINAL_NORM, "post_attention_norm": POST_NORM,
    },
    fused={"self_attention.linear_qkv": INPUT_NORM, "mlp.linear_fc1": POST_NORM},
    arguments={
        "position_embedding_type": (
            ("learned_absolute", "absolute", "megatron.enums.PositionEmbeddingType(2)",
             "megatron.model.enums.PositionEmbeddingType(2)"), NO_POSITIONS),
        "add_position_embedding": ((True,), NO_POSITIONS),
        "use_rotary_position_embeddings": ((False,), "rotary position embeddings"),
        "normalization": (("LayerNorm", "layernorm", "layernorm1p"), "RMSNorm"),
        "swiglu": ((False,), GATED),
        "quick_geglu": ((False,), GATED),
        "gated_linear_unit": ((False,), GATED),
        "glu_activation": ((), GATED),
        "activation": (("gelu",), "another activation than GELU"),
        "activation_func": (("torch.nn.functional.gelu", "torch._C._nn.gelu"),
            "another activation than torch's GELU"),
        "add_bias_linear": ((True,), NO_BIAS),
        "bias": ((True,), NO_BIAS),
        "num_query_groups": (("=num_attention_heads",), GQA),
        "num_key_value_heads": (("=num_attention_heads",), GQA),
        "attention_head_type": (("multihead",), GQA),
        "multi_query_attention": ((False,), GQA),
        "kv_channels": (("=hidden_size / num_attention_heads",), HEAD_SIZE),
        "qk_layernorm": ((False,), "LayerNorm on queries and keys"),
        "window_size": (([-1, -1], [-1, 0]), "sliding-window attention"),
    },
    features=features_of,
    # What nothing else claims: GPT-2 refuses by name what it cannot express.
    recognise=lambda _: True,
    describe=describe,
    config=config_of,
)
# fmt: on
