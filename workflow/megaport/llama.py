"""Llama's architecture, which Qwen2, Qwen3 and Mistral vary: the table of Megatron core's tensors.

RMSNorm, SwiGLU, rotary positions that are not interleaved, no biases but those of query, key and
value, keys and values shared by groups of heads. Checked against Megatron core (docs/formats.md).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from megaport.decide import PREFIX, Facts, conflict, epsilon, heads, vocabulary, zero_centred
from megaport.table import (
    FINAL_NORM,
    HEAD,
    LAYER,
    LOADED_IN,
    WORD,
    Architecture,
    Decision,
    Row,
    Shape,
    Table,
    Transform,
)

COPY, CUT, QUERY, KEY, VALUE = (
    Transform.COPY,
    Transform.CUT,
    Transform.QUERY,
    Transform.KEY,
    Transform.VALUE,
)
QKV, PROJ = "self_attention.linear_qkv", "self_attention.linear_proj"
QUERY_NORM, KEY_NORM = "self_attention.q_layernorm", "self_attention.k_layernorm"
FC1, FC2 = "mlp.linear_fc1", "mlp.linear_fc2"
INPUT_NORM, POST_NORM = "input_layernorm", "pre_mlp_layernorm"
UNGATED = "an MLP without a gate"
M, G = LAYER, "model.layers.{n}."
# Megatron's defaults of rotary_base and of use_rope_scaling's numbers, which no argument changes
# but the factor (megatron/core/models/common/embeddings/rotary_pos_embedding.py, _apply_scaling).
BASE, FACTOR = 10_000, 8.0
LLAMA3 = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
FREE = (
    "head_dim",
    "max_position_embeddings",
    "model_type",
    "num_attention_heads",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_theta",
    "vocab_size",
)


def recognise(names: Collection[str]) -> bool:
    """Core's names, no learned positions, norms without a bias: GPT-2 has both in every file."""
    core = any("linear_qkv" in name for name in names)
    biased = any(name.endswith(("norm.bias", "layer_norm_bias")) for name in names)
    positions = any(name.endswith("position_embeddings.weight") for name in names)
    return core and not biased and not positions


def features_of(layer: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
    """What a layer of such shapes has that Llama has not, and where it shows."""
    first, second = (layer.get(f"{module}.weight", ()) for module in (FC1, FC2))
    if len(first) == len(second) == 2 and first[0] == second[1]:
        yield UNGATED, f"{FC1} has the rows that {FC2} takes, not twice as many"


def describe(facts: Facts) -> Architecture:
    """Numbers in GPT2Config's terms from LlamaConfig's keys; `ArchitectureError` as GPT-2's."""
    sizes = facts.sizes
    stored = {
        "num_hidden_layers": (facts.layers, "layers"),
        "hidden_size": (sizes["H"], "columns of the word embedding"),
        "intermediate_size": (sizes["F"], f"columns of {FC2}"),
        "tie_word_embeddings": (facts.tied, "whether a head of its own is stored"),
    }
    facts.refuse_contradictions(stored, FREE)
    n_head = _heads(facts)
    size = sizes["A"] // n_head.value if n_head.value else 0
    width = Decision("head_dim", size, f"columns of {PROJ} / heads")
    decisions = (
        _class(facts),
        n_head,
        _groups(facts, n_head.value, width.value),
        width,
        _positions(facts),
        _base(facts),
        _scaling(facts),
        _window(facts),
        vocabulary(facts),
        epsilon(facts, "rms_norm_eps"),
        zero_centred(facts),
    )
    _refuse_stated(facts, width)
    found = {decision.subject: decision.value for decision in decisions}
    return Architecture(
        model_type=found["model_type"],
        n_layer=facts.layers,
        n_head=n_head.value or 0,
        n_group=found["num_key_value_heads"],
        head_size=width.value,
        n_embd=sizes["H"],
        n_inner=sizes["F"],
        n_positions=found["max_position_embeddings"],
        vocab_size=found["vocab_size"],
        padded_vocab_size=sizes["V"],
        activation_function="silu",
        layer_norm_epsilon=found["rms_norm_eps"],
        layernorm_1p=found["layernorm_1p"],
        rope_theta=found["rope_theta"],
        rope_scaling=found["rope_scaling"],
        sliding_window=found["sliding_window"],
        tie_word_embeddings=facts.tied,
        dtype=facts.dtype,
        decisions=decisions,
    )


def _heads(facts: Facts) -> Decision:
    if "D" in facts.sizes and facts.sizes["D"] and "num_attention_heads" not in facts.given:
        number, rest = divmod(facts.sizes["A"], facts.sizes["D"])
        said = facts.said("num_attention_heads")
        if rest or said not in (None, number):
            expected = f"{number}, by the size of {QUERY_NORM}"
            raise conflict("num_attention_heads", said, expected, "Get the whole checkpoint again")
        reason = f"columns of {PROJ} / size of {QUERY_NORM}"
        return Decision("num_attention_heads", number, reason)
    return heads(facts, "num_attention_heads", facts.sizes["A"])


def _groups(facts: Facts, n_head: int, width: int) -> Decision:
    """The keys and values that the rows of linear_qkv leave room for, beside the queries."""
    key = "num_key_value_heads"
    if not width:
        return Decision(key, 0, "follows from the number of heads", f"{PREFIX}.{key}")
    number, rest = divmod(facts.sizes["Q"] - facts.sizes["A"], 2 * width)
    if rest or number < 1 or n_head % number or number % facts.shards:
        seen = f"{facts.sizes['Q']} rows of {QKV} for {n_head} heads of {width}"
        expected = "a whole number of groups that share a key and a value"
        raise conflict("num_attention_heads", seen, expected, "Set the right number of heads")
    said = facts.said("num_query_groups") if facts.said("group_query_attention") else None
    for where, value in (("config", facts.given.get(key)), ("args.num_query_groups", said)):
        if value not in (None, number):
            raise conflict(
                key, f"{value} ({where})", f"{number}, by the rows of {QKV}", "Remove it"
            )
    return Decision(key, number, f"rows of {QKV} beside those of {n_head} heads")


def _refuse_stated(facts: Facts, width: Decision) -> None:
    said = facts.said("kv_channels")
    for where, value in (("config", facts.given.get("head_dim")), ("args.kv_channels", said)):
        if value not in (None, width.value):
            expected = f"{width.value}: {width.reason}"
            raise conflict("head_dim", f"{value} ({where})", expected, "Correct the heads")


def _class(facts: Facts) -> Decision:
    """Which of the classes can express the tensors and args, and which is taken."""
    able: tuple[str, ...]
    bias, norm = f"{QKV}.bias" in facts.leaves, f"{QUERY_NORM}.weight" in facts.leaves
    window = _window(facts).value is not None
    if bias and norm:
        raise conflict("model_type", "biases and norms of queries and keys", "one of them", "Stop")
    if norm:
        able, reason = ("qwen3",), "RMSNorm on queries and keys"
    elif bias:
        able, reason = ("qwen2",), "biases on query, key and value alone"
    elif window:
        able, reason = ("mistral",), "a window of attention"
    else:
        able, reason = ("llama", "mistral"), "no biases, no norms of queries and keys, no window"
    chosen = facts.given.get("model_type", able[0])
    if chosen not in able:
        raise conflict("model_type", chosen, f"{' or '.join(able)}: {reason}", "Remove the key")
    return Decision("model_type", chosen, reason, f"{PREFIX}.model_type")


def _positions(facts: Facts) -> Decision:
    key = "max_position_embeddings"
    number, reason = facts.choose(key, key)
    if number is None:
        number, reason = facts.said("seq_length"), "args.seq_length"
    if number is None:
        number, reason = 2048, "nobody states it: LlamaConfig's default; positions are rotary"
    if not isinstance(number, int) or number < 1:
        raise conflict(key, number, "a whole number of positions", "Correct it")
    return Decision(key, number, reason, f"{PREFIX}.{key}")


def _base(facts: Facts) -> Decision:
    value, reason = facts.choose("rope_theta", "rotary_base")
    if value is None:
        value, reason = BASE, "nobody states it: Megatron's default"
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 < value < 1e18:
        raise conflict("rope_theta", value, "a base above 1", "Correct it")
    return Decision("rope_theta", float(value), reason, f"{PREFIX}.rope_theta")


def _scaling(facts: Facts) -> Decision:
    """Of rotary positions, in the words of transformers' rope_parameters."""
    scaled = facts.said("use_rope_scaling") or facts.said("rope_scaling")
    factor = facts.said("rope_scaling_factor")
    factor = FACTOR if factor is None else factor
    shrunk = facts.said("rotary_seq_len_interpolation_factor") or 1
    for name, number in (("factor", factor), ("interpolation", shrunk)):
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 1e9:
            raise conflict(f"rope_scaling {name}", number, "a positive number", "Correct it")
    if scaled and shrunk != 1:
        both = "use_rope_scaling and rotary_seq_len_interpolation_factor"
        raise conflict("rope_scaling", both, "one of them, which transformers can say", "Stop")
    if scaled:
        value = {"rope_type": "llama3", "factor": float(factor), **LLAMA3}
        return Decision("rope_scaling", value, "use_rope_scaling: Llama 3.1's, by wave length")
    if shrunk != 1:
        value = {"rope_type": "linear", "factor": float(shrunk)}
        return Decision("rope_scaling", value, "rotary_seq_len_interpolation_factor")
    return Decision("rope_scaling", None, "no use_rope_scaling in the args")


def _window(facts: Facts) -> Decision:
    """Megatron's window counts the tokens before the one that looks, transformers' that one too."""
    said = facts.said("window_size")
    if said is None:
        return Decision("sliding_window", None, "no window_size in the args")
    pair = isinstance(said, list | tuple) and len(said) == 2
    if pair and said[0] == -1 and said[1] in (0, -1):
        return Decision("sliding_window", None, f"window_size {said} is no window")
    if not pair or not isinstance(said[0], int) or said[0] < 0 or said[1] != 0:
        raise conflict("sliding_window", said, "window_size (tokens before, 0)", "Correct it")
    return Decision("sliding_window", said[0] + 1, f"window_size {said}, and the token itself")


def config_of(architecture: Architecture) -> dict[str, Any]:
    """The content of the class's config.json, sorted; BF16 is loaded as it is stored.

    `rope_parameters` as transformers 5 writes it, `rope_theta` and `rope_scaling` as every version
    before it and llama.cpp's converter read it.
    """
    kind, window = architecture.model_type, architecture.sliding_window
    rope = {"rope_type": "default", **(architecture.rope_scaling or {})}
    config: dict[str, Any] = {
        "architectures": [CLASSES[kind]],
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "dtype": "bfloat16" if architecture.dtype == "bfloat16" else LOADED_IN,
        "eos_token_id": None,
        "head_dim": architecture.width,
        "hidden_act": architecture.activation_function,
        "hidden_size": architecture.n_embd,
        "initializer_range": 0.02,
        "intermediate_size": architecture.n_inner,
        "max_position_embeddings": architecture.n_positions,
        "model_type": kind,
        "num_attention_heads": architecture.n_head,
        "num_hidden_layers": architecture.n_layer,
        "num_key_value_heads": architecture.groups,
        "pad_token_id": None,
        "rms_norm_eps": architecture.layer_norm_epsilon,
        "rope_parameters": {**rope, "rope_theta": architecture.rope_theta},
        "rope_scaling": architecture.rope_scaling,
        "rope_theta": architecture.rope_theta,
        "tie_word_embeddings": architecture.tie_word_embeddings,
        "use_cache": True,
        "vocab_size": architecture.vocab_size,
    }
    return dict(sorted({**config, **_particular(kind, architecture.n_layer, window)}.items()))


def _particular(kind: str, layers: int, window: int | None) -> Mapping[str, Any]:
    if kind == "mistral":
        return {"sliding_window": window}
    if kind == "llama":
        return {"attention_bias": False, "mlp_bias": False, "pretraining_tp": 1}
    attention = "full_attention" if window is None else "sliding_attention"
    bias = {"attention_bias": False} if kind == "qwen3" else {}
    return {
        **bias,
        "layer_types": [attention] * layers,
        "max_window_layers": layers if window is None else 0,
        "sliding_window": window,
        "use_sliding_window": window is not None,
    }


# fmt: off
LLAMA = Table(
    kind="a Llama: rotary positions, RMSNorm, SwiGLU, no biases but of queries, keys and values",
    # Targets are the names that all of CLASSES save.
    first=(Row(WORD, "model.embed_tokens.weight", ("V", "H"), ("v", "H"), 0, CUT),),
    layer=(
        Row(M + f"{INPUT_NORM}.weight", G + "input_layernorm.weight", ("H",), ("H",), None, COPY),
        *(
            Row(M + f"{QKV}.weight", G + f"self_attn.{name}_proj.weight", ("Q", "H"), (size, "H"),
                0, transform)
            for name, size, transform in (("q", "A", QUERY), ("k", "K", KEY), ("v", "K", VALUE))
        ),
        *(
            Row(M + f"{QKV}.bias", G + f"self_attn.{name}_proj.bias", ("Q",), (size,),
                0, transform, optional=True)
            for name, size, transform in (("q", "A", QUERY), ("k", "K", KEY), ("v", "K", VALUE))
        ),
        Row(M + f"{QUERY_NORM}.weight", G + "self_attn.q_norm.weight", ("D",), ("D",), None, COPY,
            optional=True),
        Row(M + f"{KEY_NORM}.weight",   G + "self_attn.k_norm.weight", ("D",), ("D",), None, COPY,
            optional=True),
        Row(M + f"{PROJ}.weight", G + "self_attn.o_proj.weight", ("H", "A"), ("H", "A"), 1, COPY),
        Row(M + f"{POST_NORM}.weight", G + "post_attention_layernorm.weight", ("H",), ("H",),
            None, COPY),
        Row(M + f"{FC1}.weight", G + "mlp.gate_proj.weight", ("2F", "H"), ("F", "H"), 0,
            Transform.GATE, parts=2),
        Row(M + f"{FC1}.weight", G + "mlp.up_proj.weight",   ("2F", "H"), ("F", "H"), 0,
            Transform.UP, parts=2),
        Row(M + f"{FC2}.weight", G + "mlp.down_proj.weight", ("H", "F"), ("H", "F"), 1, COPY),
    ),
    last=(Row(f"{FINAL_NORM}.weight", "model.norm.weight", ("H",), ("H",), None, COPY),),
    head=Row(HEAD, "lm_head.weight", ("V", "H"), ("v", "H"), 0, CUT),
    modules={name: name for name in (
        QKV, PROJ, QUERY_NORM, KEY_NORM, FC1, FC2, INPUT_NORM, POST_NORM,
    )},
    fused={QKV: INPUT_NORM, FC1: POST_NORM},
    final={FINAL_NORM: FINAL_NORM},
    arguments={
        "position_embedding_type": (
            ("rope", "rotary", "megatron.enums.PositionEmbeddingType(1)",
             "megatron.model.enums.PositionEmbeddingType(1)"), "positions that are not rotary"),
        "normalization": (("RMSNorm", "rmsnorm"), "LayerNorm without biases"),
        "swiglu": ((True,), UNGATED),
        "gated_linear_unit": ((True,), UNGATED),
        "quick_geglu": ((False,), "another gate than SwiGLU"),
        "glu_activation": (("swiglu",), "another gate than SwiGLU"),
        "activation": (("swiglu", "fast-swiglu", "silu"), "another activation than SiLU"),
        "add_bias_linear": ((False,), "biases in linear layers"),
        "bias": ((False,), "biases in linear layers"),
        "rotary_percent": ((1, 1.0), "partial rotary positions"),
        "rotary_percentage": ((1, 1.0), "partial rotary positions"),
    },
    features=features_of,
    recognise=recognise,
    describe=describe,
    config=config_of,
)
# fmt: on
