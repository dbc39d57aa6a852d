"""The checks that run the converted model, each a question with what it measured and its limit."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from megaport.parity.comparison import Comparison, Limit, compare_model, log_softmax, rounding_limit
from megaport.parity.converted import Continuation, Converted
from megaport.parity.inputs import Inputs
from megaport.parity.reference import Reference
from megaport.parity.verdict import Measure, Verdict, at_most, equal, judge, not_applicable, told
from megaport.tensors import Array

# Tokens of greedy continuation, fewer where the context ends before.
NEW_TOKENS = 24
# float64 arithmetic on float32 logits: KL below this is the noise of the sum over the vocabulary.
KL_FLOOR = 1e-9
# Unit roundoff: half the distance between 1 and the next number of the format.
ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
# How many times the independent roundings of one element may come out above their expected size.
SPREAD = 2.0


@dataclass(frozen=True)
class Evidence:
    """Both models in float32 and their inputs; what several checks look at is made once, and is the
    costly part of parity."""

    reference: Reference
    converted: Converted
    inputs: Inputs

    @cached_property
    def limit(self) -> Limit:
        """How far logits may be apart."""
        return rounding_limit(self.reference, self.inputs.short)

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """The logits of all windows of each input."""
        return {
            name: compare_model(self.reference, ids, self.converted.logits, self.limit.value)
            for name, ids in self.inputs.sequences.items()
        }

    @cached_property
    def continuation(self) -> Continuation:
        """What the converted model goes on with greedily."""
        prompt = self.inputs.prompt
        room = self.reference.architecture.n_positions - prompt.shape[1]
        return self.converted.greedy(prompt, min(NEW_TOKENS, room))

    @property
    def positions(self) -> dict[str, Array]:
        """Of each input the largest difference of logits at each position [S], as a share of the
        limit."""
        return {
            name: seen.difference.max(axis=0) / self.limit.value
            for name, seen in self.comparisons.items()
        }


def check_logits(evidence: Evidence) -> Verdict:
    """Largest difference, KL divergence and argmax of every input, full context length included."""
    limit = evidence.limit.value
    measures = []
    for name, seen in evidence.comparisons.items():
        # An array's max(), unlike Python's, never loses a NaN.
        largest, kl = float(seen.difference.max()), float(seen.kl.max())
        where = f"({name}, {seen.kl.size} positions)"
        measures += [
            at_most(f"largest difference {where}", largest, limit, "logits"),
            at_most(f"largest KL divergence {where}", kl, max(KL_FLOOR, limit**2), "nats"),
            equal(f"argmax disagreements {where}", int(seen.wrong.sum()), 0),
        ]
    ties = sum(int(seen.tie.sum()) for seen in evidence.comparisons.values())
    return judge(
        "logits",
        "Does the converted model in float32 give the logits that Megatron's mathematics gives?",
        measures,
        reason=f"difference: {evidence.limit.reason}; KL: a difference of e in every logit moves "
        "KL by at most about e squared; argmax: only a tie within twice the limit may fall "
        "either way",
        note=f"{ties} ties" if ties else "",
    )


def check_greedy(evidence: Evidence) -> Verdict:
    """generate()'s greedy tokens, each against the reference's best after the same prefix.

    By induction over the tokens this is the reference's own greedy continuation, in one pass.
    """
    seen, chosen = evidence.continuation, evidence.continuation.chosen
    logits = evidence.reference.logits(seen.ids[:, :-1])[0, seen.prompt - 1 :]
    behind = logits.max(axis=-1) - logits[np.arange(len(chosen)), chosen]
    wrong = np.flatnonzero(~(behind <= 2 * evidence.limit.value))
    note = ""
    if len(wrong):
        at = int(wrong[0])
        note = f"first at token {at}: the reference picks {logits[at].argmax()}, not {chosen[at]}"
    return judge(
        "greedy continuation",
        "Does generate() pick, token by token, what the reference would pick?",
        [equal(f"tokens that differ, of {len(chosen)}", len(wrong), 0)],
        reason="the same model picks the same tokens; only a tie within twice the logit limit may "
        "fall either way",
        note=note,
    )


def check_cache(evidence: Evidence) -> Verdict:
    """One token at a time through the KV cache, against the whole sequence at once."""
    seen = evidence.continuation
    at_once = evidence.converted.logits(seen.ids[:, :-1])[0, seen.prompt - 1 :]
    return judge(
        "kv cache",
        "Does the model say the same with the KV cache as without?",
        [_within(evidence, seen.logits, at_once)],
        reason=f"the cache changes only the order of sums: {evidence.limit.reason}",
        note=f"{len(seen.chosen)} tokens after a prompt of {seen.prompt}",
    )


def check_padding(evidence: Evidence) -> Verdict:
    """Sequences of four lengths in one left-padded batch; logits after the last token of each."""
    ids = evidence.inputs.short[0]
    rows = [ids[: max(1, len(ids) * quarter // 4)] for quarter in (1, 2, 3, 4)]
    together = evidence.converted.padded_logits(rows)
    alone = np.stack([evidence.converted.logits(row[None])[0, -1] for row in rows])
    return judge(
        "left padding",
        "Does a sequence get the same logits in a left-padded batch as alone?",
        [_within(evidence, together, alone)],
        reason="padding is masked and takes no position, so only the order of sums may change: "
        + evidence.limit.reason,
    )


def check_perplexity(evidence: Evidence) -> Verdict:
    """exp of the mean negative log likelihood of the text's next token, on each side."""
    name, question = "perplexity", "Do both sides find the text equally likely?"
    if "text" not in evidence.comparisons:
        return not_applicable(name, question, "the model has no tokenizer to read the text with")
    seen = evidence.comparisons["text"]
    nats = seen.nll.mean(axis=(0, 2)).tolist()
    sides = zip(("reference", "converted model"), nats, strict=True)
    return judge(
        name,
        question,
        [
            *(told(f"perplexity of the {side}", math.exp(min(n, 700)), "") for side, n in sides),
            at_most("difference", abs(nats[0] - nats[1]), evidence.limit.value, "nats a token"),
        ],
        reason=f"a mean log likelihood moves less than the logits may: {evidence.limit.reason}",
        note=f"{seen.kl.size} tokens of the text",
    )


def check_precision(dtype: str, device: str, full: Array, half: Array, layers: int) -> Verdict:
    """Logits [1, S, V] of a model of `layers` in float32 (`full`) against its own in `dtype`."""
    # Each block rounds the residual stream twice, and each product in it once; such independent
    # errors grow with the square root of their number.
    relative = SPREAD * ROUNDOFF[dtype] * (4 * layers + 2) ** 0.5
    # A shift common to all logits of a position changes no probability.
    spread = _rms(full - full.mean(axis=-1, keepdims=True))
    left, right = log_softmax(full), log_softmax(half)
    kl = float((np.exp(left) * (left - right)).sum(axis=-1).mean())
    agree = float(np.mean(full.argmax(axis=-1) == half.argmax(axis=-1)))
    error = _rms(half - full) / _rms(full)
    return judge(
        f"precision {dtype}",
        f"Does the model in {dtype} on this {device} stay near itself in float32?",
        [
            at_most("rms difference of logits", error, relative, "of their rms"),
            at_most("mean KL divergence", kl, (relative * spread) ** 2, "nats"),
        ],
        reason=f"{SPREAD:g} times the unit roundoff {ROUNDOFF[dtype]:.2g} times the square root of "
        f"the {4 * layers + 2} roundings between embedding and logits; KL: the square of what "
        "such an error does to differences of logits",
        note=f"argmax agrees on {agree:.0%} of {full.shape[1]} positions",
    )


CHECKS = (
    check_logits,
    check_greedy,
    check_cache,
    check_padding,
    check_perplexity,
)
ONE_POSITION = (check_logits, check_padding)  # nothing goes on from a text that is full


def _within(evidence: Evidence, one: Array, other: Array) -> Measure:
    difference = float(np.abs(one - other).max())
    return at_most("largest difference", difference, evidence.limit.value, "logits")


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))
