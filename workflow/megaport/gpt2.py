"""GPT-2: THE table of its tensors, the names they had from 2019 on, and its config.json."""

from collections.abc import Iterator, Mapping
from typing import Any

from megaport.activation import decide_activation
from megaport.decide import Facts, epsilon, heads, vocabulary, zero_centred
from megaport.sizes import Shape, Sizes
from megaport.table import (
    FINAL_NORM,
    HEAD,
    LAYER,
    LOADED_IN,
    WORD,
    Architecture,
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
# The id of <|endoftext|> in GPT-2's vocabulary, which begins and ends its texts.
END_OF_TEXT = 50256
NO_POSITIONS = "no learned absolute position embeddings, but none, rotary position embeddings, ..."
NO_BIAS, GATED = "linear layers without biases", "a gated MLP (SwiGLU, GEGLU)"
GQA = "grouped or multi-query attention (GQA/MQA)"
HEAD_SIZE = "attention heads unlike hidden_size / heads"
M, G = LAYER, "transformer.h.{n}."


def sizes_of(config: dict[str, Any], ranks: int) -> Sizes:
    """The sizes that a config.json says; the vocabulary padded to 128 x ranks, Megatron's rule."""
    multiple = 128 * ranks
    return Sizes(
        padded_vocab_size=-(-config["vocab_size"] // multiple) * multiple,
        vocab_size=config["vocab_size"],
        n_positions=config["n_positions"],
        n_embd=config["n_embd"],
        n_inner=config.get("n_inner") or 4 * config["n_embd"],
        n_head=config["n_head"],
    )


def is_gpt2_vocabulary(vocab_size: int, padded_vocab_size: int) -> bool:
    """Whether so many rows are GPT-2's tokens, alone or padded as Megatron does for some ranks."""
    tokens = END_OF_TEXT + 1
    paddings = {-(-tokens // unit) * unit for unit in range(128, 128 * 64 + 1, 128)}
    return vocab_size == tokens or (vocab_size == padded_vocab_size and vocab_size in paddings)


def config_of(architecture: Architecture) -> dict[str, Any]:
    """GPT2Config's content in the order `save_pretrained` writes (sorted).

    With `n_ctx`, which transformers no longer writes and llama.cpp's converter reads; without
    `transformers_version`, since no transformers wrote it. `n_inner` is null for GPT-2's usual
    4 x n_embd. Dropouts and initializer_range are GPT-2's published ones: Megatron's say nothing
    about the weights.
    """
    usual = architecture.n_inner == 4 * architecture.n_embd
    token = END_OF_TEXT if architecture.vocab_size > END_OF_TEXT else None
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
    found = {decision.subject: decision.value for decision in decisions}
    found["n_head"] = found["n_head"] or 0
    return Architecture(n_positions=sizes["P"], decisions=decisions, **facts.measured, **found)


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
    # docs/formats.md, "Where the tensors are": 2019, then January 2021, core, September 2023.
    modules={
        "self_attention.query_key_value": QKV, "self_attention.linear_qkv": QKV,
        "self_attention.dense": DENSE, "self_attention.linear_proj": DENSE,
        "mlp.linear_fc1": UP, "mlp.linear_fc2": DOWN,
        "input_norm": INPUT_NORM, "final_norm": FINAL_NORM,
        "post_attention_norm": POST_NORM, "pre_mlp_layernorm": POST_NORM,
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
