"""Two sets of logits against each other, and how far apart rounding alone may put them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from megaport.parity.reference import Reference
from megaport.parity.subject import Subject
from megaport.tensors import Array

# Megatron's own logits are met within this by a right reading and missed by 2e-3 and more by a
# wrong GELU, on sixteen checkpoints written by Megatron (docs/how-it-works/parity.md).
FLOOR = 5e-5
# Two float32 implementations order their sums differently; each is about as far from the exact
# value as the reference is from itself in float64. Eight times leaves room for the tail.
FACTOR = 8.0
# Rows of logits widened to float64 at once.
ROWS = 64
POINTS = 2000


@dataclass(frozen=True)
class Limit:
    """How far apart two right float32 logits may be, and what that comes from."""

    value: float
    rounding: float

    @property
    def reason(self) -> str:
        return (
            f"{FACTOR:g} times what float32 costs the reference itself here (against its own "
            f"float64: {self.rounding:.2g}), at least {FLOOR:g}"
        )


@dataclass(frozen=True)
class Comparison:
    """Over all positions: largest difference, KL(reference || converted) in nats, argmax
    disagreements beyond and within a tie of the limit, mean negative log likelihood of the next
    token on each side, and `points` [2, n] to draw."""

    positions: int
    max_abs: float
    kl_max: float
    disagreements: int
    ties: int
    nll: tuple[float, float]
    points: Array


def rounding_limit(subject: Subject, ids: Array) -> Limit:
    """The limit for this checkpoint, from the reference in both precisions on `ids` [1, S]."""
    single, double = (subject.reference(p).logits(ids) for p in ("float32", "float64"))
    rounding = float(np.abs(single - double).max())
    return Limit(max(FLOOR, FACTOR * rounding), rounding)


def compare_logits(reference: Array, converted: Array, ids: Array, limit: float) -> Comparison:
    """Logits [S, V] of both sides for one sequence `ids` [S]."""
    blocks = [slice(i, min(i + ROWS, len(ids))) for i in range(0, len(ids), ROWS)]
    parts = [
        _block(reference[b], converted[b], ids[b.start + 1 : b.stop + 1], limit) for b in blocks
    ]
    nll = np.sum([part.nll for part in parts], axis=0) / max(1, len(ids) - 1)
    every = max(1, reference.size // POINTS)
    return Comparison(
        positions=len(ids),
        max_abs=_largest([part.max_abs for part in parts]),
        kl_max=_largest([part.kl_max for part in parts]),
        disagreements=sum(part.wrong for part in parts),
        ties=sum(part.ties for part in parts),
        nll=(float(nll[0]), float(nll[1])),
        points=np.stack([reference.reshape(-1)[::every], converted.reshape(-1)[::every]]),
    )


def compare_model(
    reference: Reference, ids: Array, converted: Callable[[Array], Array], limit: float
) -> Comparison:
    """All windows of `ids` [B, S] on both sides, one window's logits at a time."""
    windows = zip(reference.normed(ids), ids, strict=True)
    return merge(
        [
            compare_logits(reference.project(normed), converted(row[None])[0], row, limit)
            for normed, row in windows
        ]
    )


def merge(parts: list[Comparison]) -> Comparison:
    """Several windows of one length as one comparison."""
    first, second = (float(np.mean([part.nll[side] for part in parts])) for side in (0, 1))
    return Comparison(
        positions=sum(part.positions for part in parts),
        max_abs=_largest([part.max_abs for part in parts]),
        kl_max=_largest([part.kl_max for part in parts]),
        disagreements=sum(part.disagreements for part in parts),
        ties=sum(part.ties for part in parts),
        nll=(first, second),
        points=np.concatenate([part.points for part in parts], axis=1),
    )


def log_softmax(logits: Array) -> Array:
    """Natural log probabilities along the last axis, float64."""
    values = logits.astype(np.float64)
    values -= values.max(axis=-1, keepdims=True)
    values -= np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return values


def _largest(values: Sequence[float]) -> float:
    return float(np.max(values))  # unlike max(), never loses a NaN


@dataclass(frozen=True)
class _Block:
    """Some rows of a comparison; `nll` are sums."""

    max_abs: float
    kl_max: float
    wrong: int
    ties: int
    nll: tuple[float, float]


def _block(reference: Array, converted: Array, following: Array, limit: float) -> _Block:
    """`following` are the tokens that come after these rows, one fewer at the sequence's end."""
    left, right = log_softmax(reference), log_softmax(converted)
    rows = np.arange(len(reference))
    chosen = (rows[: len(following)], following)
    nll = (-float(left[chosen].sum()), -float(right[chosen].sum()))
    best, other = reference.argmax(axis=-1), converted.argmax(axis=-1)
    # NaN is no tie: comparisons with it are false.
    tie = (best != other) & (reference[rows, best] - reference[rows, other] <= 2 * limit)
    right -= left
    np.exp(left, out=left)
    return _Block(
        max_abs=float(np.abs(reference - converted).max()),
        kl_max=float(-np.einsum("rv,rv->r", left, right).min()),
        wrong=int((best != other).sum() - tie.sum()),
        ties=int(tie.sum()),
        nll=nll,
    )
