"""From args, configuration and tensors to an architecture: every number a Decision with its reason.

What architectures share; what is particular to one stands in its own file. Standard library only.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from megaport.errors import MegaportError
from megaport.table import Architecture, Decision

PREFIX = "architecture"
USUAL_HEAD = 64  # of every GPT-2 that OpenAI and NVIDIA published
ZERO_CENTRED = ("apply_layernorm_1p", "layernorm_zero_centered_gamma")
# The default of Megatron's argument since 2019.
EPSILON = 1e-5
# Tensor-parallel ranks that a vocabulary may have been padded for.
RANKS = (1, 2, 4, 8, 16, 32, 64)


class ArchitectureError(MegaportError):
    """A configured or stored number that the tensors contradict, or one that nobody states."""


@dataclass(frozen=True)
class Facts:
    """What is known of one model: the config's `given`, Megatron's `args`, and its tensors.

    `sizes` are what the shapes say the symbols of the table are; `leaves` the names of a layer's
    tensors; `shards` the tensor-parallel ranks they are kept for; `core` whether the model is
    Megatron core's. `dtype` is the word embedding's, by torch's name. A `draft`, to look at, may
    have no number of heads.
    """

    given: Mapping[str, Any]
    args: Mapping[str, Any] | None
    sizes: Mapping[str, int]
    leaves: Collection[str]
    layers: int
    tied: bool
    shards: int
    core: bool
    dtype: str
    draft: bool = False

    def said(self, argument: str) -> Any:
        return (self.args or {}).get(argument)

    def architecture(
        self, decisions: tuple[Decision, ...], names: Mapping[str, str] = {}, **more: Any
    ) -> Architecture:
        """What tensors say whatever kind it is, what was decided, and `more`.

        `names`: what `Architecture` calls the subjects that are not its own words.
        """
        found = {names.get(made.subject, made.subject): made.value for made in decisions}
        return Architecture(
            n_layer=self.layers,
            n_embd=self.sizes["H"],
            n_inner=self.sizes["F"],
            padded_vocab_size=self.sizes["V"],
            tie_word_embeddings=self.tied,
            dtype=self.dtype,
            decisions=decisions,
            **{**found, "n_head": found["n_head"] or 0, **more},
        )

    def choose(self, key: str, *arguments: str) -> tuple[Any, str]:
        """The config's `key`, else the first of `arguments` stated, else None; and which it was."""
        stated = (name for name in arguments if self.said(name) is not None)
        argument = next(stated, arguments[0])
        said = self.said(argument)
        if key not in self.given:
            return said, f"args.{argument}"
        if said is not None and said != self.given[key]:
            return self.given[key], f"config; args.{argument} says {said}"
        return self.given[key], "config"

    def refuse_contradictions(
        self, stored: Mapping[str, tuple[Any, str]], free: Collection[str]
    ) -> None:
        """`ArchitectureError` for a given key that is neither `free` nor what is `stored`."""
        for key, value in self.given.items():
            if key in stored and value != stored[key][0]:
                found, what = stored[key]
                raise conflict(key, value, f"{found} ({what})", "Remove the key")
            if key not in stored and key not in free:
                raise conflict(key, value, f"one of {sorted({*free, *stored})}", "Remove the key")


def conflict(key: str, seen: Any, expected: str, remedy: str) -> ArchitectureError:
    return ArchitectureError(
        f"{PREFIX}.{key}",
        seen=seen,
        expected=expected,
        remedy=f"{remedy}, or correct it in config.yaml.",
    )


def heads(facts: Facts, key: str, width: int) -> Decision:
    """The attention heads that `width` is split over; `ArchitectureError` where nobody says.

    In a draft None where nobody says.
    """
    number, reason = facts.choose(key, "num_attention_heads")
    shards, where = facts.shards, f"{PREFIX}.{key}"
    if number is None:
        likely = _likely_heads(width, shards)
        if facts.draft:
            reason = f"nobody states it, and any number fits the tensors: {likely}"
            return Decision(key, None, reason, where)
        raise ArchitectureError(
            where,
            seen="no number of attention heads: the checkpoint does not state it",
            expected=f"a divisor of {width}, the width of the attention, the likeliest first: "
            f"{likely}",
            remedy=f"Set {where}, or --config {key}=NUMBER; the tensors look alike for any number.",
        )
    if not isinstance(number, int) or number < 1 or width % number or number % shards:
        ranks = f" and a multiple of the {shards} ranks" if shards > 1 else ""
        raise conflict(key, number, f"a divisor of {width}{ranks}", "Set the right number")
    return Decision(key, number, reason, where)


def _likely_heads(width: int, shards: int) -> str:
    """Numbers of heads that would do; first those whose size is near 64, as in every GPT-2."""
    able = [n for n in range(shards, width + 1, shards) if width % n == 0 and width // n >= 8]
    nearest = sorted(able, key=lambda n: abs(math.log2(width / n / USUAL_HEAD)))
    return ", ".join(f"{n} (head size {width // n})" for n in nearest[:5])


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is one, which flags are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(
    facts: Facts,
    key: str,
    *arguments: str,
    default: float,
    why: str = "Megatron's default",
    kind: type[int] | type[float],
    between: tuple[float, float],
    expected: str,
) -> Decision:
    """What config or args say, `default` where nobody does; `ArchitectureError` for no such number.

    Both bounds are excluded.
    """
    value, reason = facts.choose(key, *arguments)
    if value is None:
        value, reason = default, f"nobody states it: {why}"
    low, high = between
    if not is_number(value) or not isinstance(value, int | kind) or not low < value < high:
        raise conflict(key, value, expected, "Set the right number")
    return Decision(key, kind(value), reason, f"{PREFIX}.{key}")


def vocabulary(facts: Facts) -> Decision:
    """The rows to keep of the word embedding; all of them where nobody says.

    `ArchitectureError` for args that drop more rows than Megatron adds by padding, for the ranks it
    has or any of RANKS: resaved for fewer, a checkpoint keeps its rows.
    """
    key, rows = "vocab_size", facts.sizes["V"]
    found = number(
        facts,
        key,
        key,
        default=rows,
        why="every stored row is kept, padding too",
        kind=int,
        between=(0, rows + 1),
        expected=f"1 to {rows}, the rows of the embedding",
    )
    if key in facts.given:
        return found
    multiple = facts.said("make_vocab_size_divisible_by")
    if is_number(multiple) and multiple >= 1:
        ranks = facts.said("tensor_model_parallel_size") or facts.said("model_parallel_size")
        fitting = [number for number in RANKS if rows % (multiple * number) == 0]
        most = multiple * max([*fitting, ranks if is_number(ranks) else 1])
        if rows - found.value >= most:
            expected = f"less than {most} of {rows} rows as padding, as args say"
            raise conflict(key, found.value, expected, "Set the right number")
    return _with_end_of_text(facts, found)


def _with_end_of_text(facts: Facts, found: Decision) -> Decision:
    """NullTokenizer has one token more than its argument says, the last, which ends a text."""
    if facts.said("tokenizer_type") != "NullTokenizer" or found.value >= facts.sizes["V"]:
        return found
    reason = f"{found.reason}, and the token that NullTokenizer ends a text with"
    return replace(found, value=found.value + 1, reason=reason)


def epsilon(facts: Facts, key: str) -> Decision:
    """The epsilon of the norms; Megatron's default where nobody says."""
    return number(
        facts,
        key,
        "norm_epsilon",
        "layernorm_epsilon",
        default=EPSILON,
        kind=float,
        between=(0, 1),
        expected="a number between 0 and 1",
    )


def zero_centred(facts: Facts) -> Decision:
    """Whether 1 is to be added to every norm's weight."""
    for argument in ZERO_CENTRED:
        if facts.said(argument):
            return Decision("layernorm_1p", True, f"{argument}: weights are stored minus 1")
    return Decision("layernorm_1p", False, "no apply_layernorm_1p in the args")
