"""The class and the numbers of a Llama, each decided from its args, configuration and tensors."""

from typing import Any

from megaport.decide import (
    PREFIX,
    Facts,
    conflict,
    epsilon,
    heads,
    is_number,
    number,
    vocabulary,
    zero_centred,
)
from megaport.table import Architecture, Decision

# Names of modules that decide something.
QKV, PROJ = "self_attention.linear_qkv", "self_attention.linear_proj"
QUERY_NORM, KEY_NORM = "self_attention.q_layernorm", "self_attention.k_layernorm"
FC2 = "mlp.linear_fc2"
MOST_POSITIONS = 1 << 31
# Megatron's defaults of rotary_base and of use_rope_scaling's numbers, by the arguments that change
# them: Megatron has the first alone, NeMo and Megatron-Bridge all
# (megatron/core/models/common/embeddings/rotary_pos_embedding.py, _apply_scaling).
BASE = 10_000
LLAMA3 = {
    "factor": ("rope_scaling_factor", 8.0),
    "low_freq_factor": ("low_freq_factor", 1.0),
    "high_freq_factor": ("high_freq_factor", 4.0),
    "original_max_position_embeddings": ("old_context_len", 8192),
}
# LlamaConfig's keys, and what `Architecture` calls them.
NAMES = {
    "head_dim": "head_size",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_key_value_heads": "n_group",
    "rms_norm_eps": "layer_norm_epsilon",
}
FREE = (
    *(*NAMES, "model_type", "rope_theta", "vocab_size"),
    *("rope_scaling_factor", "sliding_window"),  # for a checkpoint without args
)


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
    window = _window(facts)
    decisions = (
        _class(facts, n_head.value, windowed=window.value is not None),
        n_head,
        _groups(facts, n_head.value, size),
        width,
        _positions(facts),
        _base(facts),
        _scaling(facts),
        window,
        vocabulary(facts),
        epsilon(facts, "rms_norm_eps"),
        zero_centred(facts),
    )
    if size:
        _refuse_others(facts, width, "kv_channels", facts.said("kv_channels"))
    return facts.architecture(decisions, NAMES, activation_function="silu")


def _heads(facts: Facts) -> Decision:
    key, size = "num_attention_heads", facts.sizes.get("D")
    if not size:
        return heads(facts, key, facts.sizes["A"])
    count, rest = divmod(facts.sizes["A"], size)
    said, _ = facts.choose(key, key)
    if rest or said not in (None, count):
        expected = f"{count}, by the size of {QUERY_NORM}"
        raise conflict(key, said, expected, "Get the whole checkpoint again")
    return Decision(key, count, f"columns of {PROJ} / size of {QUERY_NORM}")


def _groups(facts: Facts, n_head: int, width: int) -> Decision:
    """The keys and values that the rows of linear_qkv leave room for, beside the queries."""
    key = "num_key_value_heads"
    if not width:
        return Decision(key, 0, "follows from the number of heads", f"{PREFIX}.{key}")
    groups, rest = divmod(facts.sizes["Q"] - facts.sizes["A"], 2 * width)
    asked = facts.said("num_query_groups") if facts.said("group_query_attention") else None
    if is_number(asked) and 0 < asked < facts.shards:
        seen = f"{asked} groups over {facts.shards} ranks"
        raise conflict(key, seen, "a rank's own groups", "Save it as torch_dist with Megatron")
    if rest or groups < 1 or n_head % groups or groups % facts.shards:
        seen = f"{facts.sizes['Q']} rows of {QKV} for {n_head} heads of {width}"
        expected = "a whole number of groups that share a key and a value"
        raise conflict("num_attention_heads", seen, expected, "Set the right number of heads")
    found = Decision(key, groups, f"rows of {QKV} beside those of {n_head} heads")
    said, grouped = facts.said("num_query_groups"), facts.said("group_query_attention")
    if not grouped:  # the number alone, which has a default, asks for nothing
        said = n_head if grouped is False and said != groups else None
    _refuse_others(facts, found, "num_query_groups", said)
    return found


def _refuse_others(facts: Facts, found: Decision, argument: str, said: Any) -> None:
    """`ArchitectureError` where config or args say something else than tensors do."""
    for where, value in (("config", facts.given.get(found.subject)), (f"args.{argument}", said)):
        if value not in (None, found.value):
            expected = f"{found.value}: {found.reason}"
            raise conflict(found.subject, f"{value} ({where})", expected, "Correct the heads")


def _class(facts: Facts, n_head: int, *, windowed: bool) -> Decision:
    """Which of the classes can express the tensors and args, and which is taken."""
    able: tuple[str, ...]
    bias, norm = f"{QKV}.bias" in facts.leaves, f"{QUERY_NORM}.weight" in facts.leaves
    for argument, there in (("add_qkv_bias", bias), ("qk_layernorm", norm)):
        if facts.said(argument) and not there:
            expected = "their tensors in every layer"
            raise conflict("model_type", f"args.{argument}", expected, "Get the whole checkpoint")
    if norm != (f"{KEY_NORM}.weight" in facts.leaves):
        one = f"one of {QUERY_NORM} and {KEY_NORM}"
        raise conflict("model_type", one, "both or none", "Get the whole checkpoint")
    if bias and norm:
        raise conflict("model_type", "biases and norms of queries and keys", "one of them", "Stop")
    if norm:
        able, reason = ("qwen3",), "RMSNorm on queries and keys"
    elif bias:
        able, reason = ("qwen2",), "biases on query, key and value alone"
    elif windowed:
        able, reason = ("mistral",), "a window of attention"
    else:
        able, reason = ("llama", "mistral"), "no biases, no norms of queries and keys, no window"
        if facts.sizes["H"] % (n_head or 1):
            able, reason = ("mistral",), "a hidden size that LlamaConfig wants to be heads x a size"
    chosen = facts.given.get("model_type", able[0])
    if chosen not in able:
        raise conflict("model_type", chosen, f"{' or '.join(able)}: {reason}", "Remove the key")
    return Decision("model_type", chosen, reason, f"{PREFIX}.model_type")


def _positions(facts: Facts) -> Decision:
    key = "max_position_embeddings"
    return number(
        facts,
        key,
        key,
        "seq_length",
        default=2048,
        why="LlamaConfig's default; positions are rotary",
        kind=int,
        between=(0, MOST_POSITIONS),
        expected=f"a whole number of positions below {MOST_POSITIONS:,}",
    )


def _base(facts: Facts) -> Decision:
    return number(
        facts,
        "rope_theta",
        "rotary_base",
        default=BASE,
        kind=float,
        between=(1, 1e18),
        expected="a base above 1",
    )


def _scaling(facts: Facts) -> Decision:
    """Of rotary positions, in the words of transformers' rope_parameters."""
    scaled = facts.said("use_rope_scaling") or facts.said("rope_scaling")
    stated = {name: facts.said(argument) for name, (argument, _) in LLAMA3.items()}
    reason, override = "use_rope_scaling", "rope_scaling_factor"
    if override in facts.given:
        scaled, reason, stated["factor"] = True, "config", facts.given[override]
    override = f"{PREFIX}.{override}"
    waves = {name: LLAMA3[name][1] if one is None else one for name, one in stated.items()}
    shrunk = facts.said("rotary_seq_len_interpolation_factor") or 1
    for name, value in {**waves, "interpolation": shrunk}.items():
        if not is_number(value) or not 0 < value < 1e9:
            raise conflict(f"rope_scaling {name}", value, "a positive number", "Correct it")
    if scaled and shrunk != 1:
        both = f"{reason} and rotary_seq_len_interpolation_factor"
        raise conflict("rope_scaling", both, "one of them, which transformers can say", "Stop")
    if scaled:
        words = {"rope_type": "llama3", **waves, "factor": float(waves["factor"])}
        return Decision("rope_scaling", words, f"{reason}: Llama 3.1's, by wave length", override)
    if shrunk != 1:
        words = {"rope_type": "linear", "factor": float(shrunk)}
        return Decision("rope_scaling", words, "rotary_seq_len_interpolation_factor")
    return Decision("rope_scaling", None, "no use_rope_scaling in the args", override)


def _window(facts: Facts) -> Decision:
    """Megatron's window counts the tokens before the one that looks, transformers' that one too."""
    said, override = facts.said("window_size"), f"{PREFIX}.sliding_window"
    if "sliding_window" in facts.given:
        return Decision("sliding_window", facts.given["sliding_window"], "config", override)
    if said is None:
        return Decision("sliding_window", None, "no window_size in the args", override)
    pair = isinstance(said, list | tuple) and len(said) == 2
    if pair and said[0] == -1 and said[1] in (0, -1):
        return Decision("sliding_window", None, f"window_size {said} is no window")
    if not pair or not isinstance(said[0], int) or said[0] < 0 or said[1] != 0:
        raise conflict("sliding_window", said, "window_size (tokens before, 0)", "Correct it")
    return Decision("sliding_window", said[0] + 1, f"window_size {said}, and the token itself")
