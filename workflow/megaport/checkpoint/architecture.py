"""The GPT-2 that a checkpoint is, in GPT2Config's terms, and where each number comes from."""

import math
from collections.abc import Mapping
from typing import Any

from megaport.checkpoint.activation import decide_activation
from megaport.checkpoint.model import CORE_FAMILIES, Checkpoint
from megaport.errors import MegaportError
from megaport.gpt2 import POSITION, QKV, UP
from megaport.table import HEAD, WORD, Architecture, Decision

PREFIX = "architecture"
# Every LayerNorm epsilon Megatron GPT-2 was seen with; the default of its argument since 2019.
EPSILON = 1e-5
USUAL_HEAD = 64  # of every GPT-2 that OpenAI and NVIDIA published
# safetensors' names and those of config.yaml's `dtype` and transformers' config.json.
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu")


class ArchitectureError(MegaportError):
    """A configured or stored number that the tensors contradict, or one that nobody states."""


def describe_architecture(
    checkpoint: Checkpoint, overrides: Mapping[str, Any], *, draft: bool = False
) -> Architecture:
    """The architecture; `overrides` is the config's `architecture` (None means not given).

    A draft, to look at, has 0 heads where nobody states their number. Raises `ArchitectureError`
    naming the config key for a number of heads that nobody states, a key that GPT2Config has but
    the config does not, and any value the tensors contradict.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    args = checkpoint.args or {}
    word = checkpoint.tensors[WORD]
    hidden, padded = word[0].shape[1], sum(shard.shape[0] for shard in word)
    inner = sum(s.shape[0] for s in checkpoint.tensors[f"layers.0.{UP}.bias"])
    tied = HEAD not in checkpoint.tensors
    rows = checkpoint.tensors[POSITION][0].shape[0]
    stored = {
        "n_layer": (checkpoint.layers, "layers"),
        "n_embd": (hidden, "columns of the word embedding"),
        "n_inner": (inner, "rows of mlp.dense_h_to_4h"),
        "n_positions": (rows, "rows of the position embedding"),
        "tie_word_embeddings": (tied, "whether a head of its own is stored"),
    }
    _refuse_contradictions(given, stored)
    decisions = (
        _heads(checkpoint, given, args, hidden, draft),
        _vocabulary(given, args, padded),
        _activation(checkpoint, given),
        _epsilon(given, args),
        _zero_centred(args),
    )
    heads, vocabulary, activation, epsilon, zero_centred = (d.value for d in decisions)
    return Architecture(
        n_layer=checkpoint.layers,
        n_head=heads or 0,
        n_embd=hidden,
        n_inner=inner,
        n_positions=rows,
        vocab_size=vocabulary,
        padded_vocab_size=padded,
        activation_function=activation,
        layer_norm_epsilon=epsilon,
        tie_word_embeddings=tied,
        layernorm_1p=zero_centred,
        dtype=DTYPES[word[0].dtype],
        decisions=decisions,
    )


def _refuse_contradictions(given: Mapping[str, Any], stored: Mapping[str, tuple[Any, str]]) -> None:
    free = {"n_head", "vocab_size", "activation_function", "layer_norm_epsilon"}
    for key, value in given.items():
        if key in stored and value != stored[key][0]:
            found, what = stored[key]
            raise _conflict(key, value, f"{found} ({what})", "Remove the key")
        if key not in stored and key not in free:
            raise _conflict(key, value, f"one of {sorted(free | set(stored))}", "Remove the key")


def _conflict(key: str, seen: Any, expected: str, remedy: str) -> ArchitectureError:
    return ArchitectureError(
        f"{PREFIX}.{key}",
        seen=seen,
        expected=expected,
        remedy=f"{remedy}, or correct it in config.yaml.",
    )


def _heads(
    checkpoint: Checkpoint,
    given: Mapping[str, Any],
    args: Mapping[str, Any],
    hidden: int,
    draft: bool,
) -> Decision:
    key = f"{PREFIX}.n_head"
    heads, reason = _choose("n_head", given, args, "num_attention_heads")
    shards = len(checkpoint.tensors[f"layers.0.{QKV}.bias"])
    if heads is None:
        likely = likely_heads(hidden, shards)
        if draft:
            return Decision(
                "n_head", None, f"nobody states it, and any number fits the tensors: {likely}", key
            )
        raise ArchitectureError(
            key,
            seen="no number of attention heads: the checkpoint does not state it",
            expected=f"a divisor of the hidden size {hidden}, the likeliest first: {likely}",
            remedy=f"Set {key}, or --config n_head=NUMBER; the tensors look alike for any number.",
        )
    if not isinstance(heads, int) or heads < 1 or hidden % heads or heads % shards:
        ranks = f" and a multiple of the {shards} ranks" if shards > 1 else ""
        raise _conflict("n_head", heads, f"a divisor of {hidden}{ranks}", "Set the right number")
    return Decision("n_head", heads, reason, key)


def likely_heads(hidden: int, shards: int) -> str:
    """Numbers of heads that would do; first those whose size is near 64, as in every GPT-2."""
    heads = [n for n in range(shards, hidden + 1, shards) if hidden % n == 0 and hidden // n >= 8]
    nearest = sorted(heads, key=lambda n: abs(math.log2(hidden / n / USUAL_HEAD)))
    return ", ".join(f"{n} (head size {hidden // n})" for n in nearest[:5])


def _vocabulary(given: Mapping[str, Any], args: Mapping[str, Any], padded: int) -> Decision:
    size, reason = _choose("vocab_size", given, args, "vocab_size")
    if size is None:
        size, reason = padded, "nobody states it: every stored row is kept, padding too"
    if not isinstance(size, int) or not 1 <= size <= padded:
        raise _conflict("vocab_size", size, f"1 to {padded}, the rows of the embedding", "Lower it")
    return Decision("vocab_size", size, reason, f"{PREFIX}.vocab_size")


def _activation(checkpoint: Checkpoint, given: Mapping[str, Any]) -> Decision:
    decided = decide_activation(checkpoint.args, core=checkpoint.family in CORE_FAMILIES)
    chosen = given.get("activation_function")
    if chosen is None:
        return decided
    if chosen not in ACTIVATIONS:
        raise _conflict("activation_function", chosen, f"one of {ACTIVATIONS}", "Remove the key")
    reason = f"config; without it {decided.value}: {decided.reason}"
    return Decision(decided.subject, chosen, reason, decided.override)


def _epsilon(given: Mapping[str, Any], args: Mapping[str, Any]) -> Decision:
    key = f"{PREFIX}.layer_norm_epsilon"
    argument = "norm_epsilon" if "norm_epsilon" in args else "layernorm_epsilon"
    value, reason = _choose("layer_norm_epsilon", given, args, argument)
    if value is None:
        return Decision("layer_norm_epsilon", EPSILON, "nobody states it: Megatron's default", key)
    if not isinstance(value, int | float) or not 0 < value < 1:
        raise _conflict("layer_norm_epsilon", value, "a number between 0 and 1", "Correct it")
    return Decision("layer_norm_epsilon", float(value), reason, key)


def _zero_centred(args: Mapping[str, Any]) -> Decision:
    for argument in ("apply_layernorm_1p", "layernorm_zero_centered_gamma"):
        if args.get(argument):
            return Decision("layernorm_1p", True, f"{argument}: weights are stored minus 1")
    return Decision("layernorm_1p", False, "no apply_layernorm_1p in the args")


def _choose(
    key: str, given: Mapping[str, Any], args: Mapping[str, Any], argument: str
) -> tuple[Any, str]:
    said = args.get(argument)
    if key not in given:
        return said, f"args.{argument}"
    if said is not None and said != given[key]:
        return given[key], f"config; args.{argument} says {said}"
    return given[key], "config"
