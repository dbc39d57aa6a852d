"""Whether the checkpoint was read rightly at all: the text is likeliest under the right reading.

The converter and the reference share what the reader decided: the number of heads, the row order,
the order of pipeline stages and of ranks. A trained model read otherwise finds the text less
likely, so every other reading is tried on it. A gain counts when it is beyond the noise of this
text, and when the text is then likelier than by chance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from megaport.parity.reference import ROWS, VOCABULARY, Reference
from megaport.parity.verdict import Verdict, at_most, judge, not_applicable, told
from megaport.table import layer_name, leaves_of
from megaport.tensors import Array, Tensor

NAME = "reading"
QUESTION = "Is the text likeliest as the checkpoint was read: heads, row order, stages, ranks?"
# Tokens of the first, cheap tries: what is clearly worse there is not tried on more.
FIRST = (64, 256)
# Standard errors that a difference must exceed: some thirty readings are tried, on one text.
SIGMAS = 5.0
UNLIKELY = 1e4

# A way to read the files, in words, and the model that they then are.
Reading = tuple[str, Reference]


@dataclass(frozen=True)
class Gain:
    """Nats a token that one reading gains over another, and the noise: the standard error of that
    mean times `SIGMAS`."""

    nats: float
    noise: float

    @property
    def better(self) -> bool:
        return self.nats > self.noise

    @property
    def worse(self) -> bool:
        return self.nats < -self.noise


@dataclass(frozen=True)
class Trial:
    """A reading tried on the text: what it gains over the reference's own, and over chance."""

    name: str
    gain: Gain
    over_chance: Gain


def check_reading(reference: Reference, text: Array | None) -> Verdict:
    """Every other reading on `text` windows [k, S]; fails where one is likelier beyond noise."""
    if text is None or text.shape[1] < 2:
        return not_applicable(NAME, QUESTION, "the model has no tokenizer to read the text with")
    own, trials = try_readings(reference, list(other_readings(reference)), text)
    trials = [trial for trial in trials if trial.over_chance.better] or trials
    if not own.over_chance.better and not any(trial.over_chance.better for trial in trials):
        return not_applicable(
            NAME,
            QUESTION,
            "the model finds the text no likelier than chance, in any reading: it knows nothing of "
            "this text, so nothing can be told from it",
        )
    if not trials:
        return not_applicable(NAME, QUESTION, "the files can be read in one way only")
    better = [trial for trial in trials if trial.gain.better]
    best = max(better or trials, key=lambda trial: trial.gain.nats)
    advice = f"the text reads better with {best.name}; " if better else ""
    closest = sorted(trials, key=lambda trial: -trial.gain.nats)[:3]
    said = ", ".join(f"{trial.name} ({-trial.gain.nats:+.2g})" for trial in closest)
    what = f"gain of another reading ({best.name})"
    return judge(
        NAME,
        QUESTION,
        [
            told("gain over chance as read", own.over_chance.nats, "nats a token"),
            at_most(what, best.gain.nats, best.gain.noise, "nats a token"),
        ],
        reason=f"{SIGMAS:g} standard errors of the gain, from this text's own scatter",
        note=f"{advice}others tried, likeliest first, with the nats a token they cost more: {said}",
    )


def other_readings(reference: Reference) -> Iterator[Reading]:
    """Every reading of the same files that the shapes allow and the reader did not choose."""
    yield from reference.readings()
    held = reference.checkpoint
    for words, places in permutations(held.pipeline_parallel, held.virtual_pipeline):
        changed = _layers_permuted(reference, places)
        yield f"pipeline stages {words}", reference.with_tensors(changed)
    ranks = held.tensor_parallel
    cut = {n: held.tensors[n] for n in VOCABULARY if len(held.tensors.get(n, ())) == ranks}
    for words, places in permutations(ranks) if cut else ():
        # Ranks exchanged everywhere only move the vocabulary: a layer sums over its ranks.
        changed = {name: tuple(cut[name][rank] for rank in places) for name in cut}
        yield f"tensor-parallel ranks {words}", reference.with_tensors(changed)


def permutations(count: int, chunks: int = 1) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Orders that files come in by mistake: reversed, rotated, two neighbours swapped; where each
    of `count` holds several `chunks`, also one's chunks after the other's, or the opposite."""
    right = tuple(range(count * chunks))
    orders: dict[tuple[int, ...], str] = {right: ""}
    for i in right[:-1]:
        swapped = (*right[:i], i + 1, i, *right[i + 2 :])
        orders.setdefault(swapped, f"{i} and {i + 1} swapped")
    orders.setdefault(right[::-1], "reversed")
    orders.setdefault((*right[1:], *right[:1]), "rotated")
    orders.setdefault((*right[-1:], *right[:-1]), "rotated back")
    for rows in (count, chunks):
        turned = np.arange(count * chunks).reshape(rows, -1).T.reshape(-1)
        orders.setdefault(tuple(turned.tolist()), f"dealt out by {rows}")
    yield from ((words, order) for order, words in orders.items() if words)


def try_readings(
    reference: Reference, readings: Sequence[Reading], windows: Array
) -> tuple[Trial, list[Trial]]:
    """The trial of `reference` itself, and that of each other reading: on few tokens where that is
    clear, on all where it is close."""
    chance = float(np.log(reference.architecture.vocab_size))
    trials: dict[str, Trial] = {}
    left = dict(readings)
    for ids in _growing(windows):
        mine = nats(reference, ids)
        own = _trial("as read", mine, mine, ids, chance)
        trials |= {n: _trial(n, mine, nats(other, ids), ids, chance) for n, other in left.items()}
        first = ids.size <= FIRST[0]
        left = {name: left[name] for name in left if _is_close(trials[name], first)}
        if any(trials[name].gain.better for name in left) and not first:
            break
        gained = own.over_chance
        if not left and (gained.better or gained.nats <= 0):
            break
    return own, list(trials.values())


def nats(reference: Reference, windows: Array) -> Array:
    """The negative log likelihood of every token but the first of windows [k, S]: [k, S - 1]."""
    found = []
    for normed, ids in zip(reference.normed(windows), windows, strict=True):
        for start in range(0, len(ids) - 1, ROWS):
            following = ids[start + 1 : start + 1 + ROWS]
            logits = reference.project(normed[start : start + len(following)])
            logits -= logits.max(axis=-1, keepdims=True)
            chosen = logits[np.arange(len(following)), following]
            found.append(np.log(np.exp(logits, out=logits).sum(axis=-1)) - chosen)
    # A wrong reading may overflow: such a text is as unlikely as can be.
    likelihoods: Array = np.nan_to_num(np.concatenate(found), nan=UNLIKELY, posinf=UNLIKELY)
    return likelihoods.reshape(len(windows), -1)


def _growing(windows: Array) -> Iterator[Array]:
    """More and more of the text: a window's start, the window, twice as many windows each time."""
    count, length = windows.shape
    for start in FIRST:
        if start < length:
            yield windows[:1, :start]
    taken = 1
    while taken < count:
        yield windows[:taken]
        taken *= 2
    yield windows


def _is_close(trial: Trial, first: bool) -> bool:
    """Whether more text could make the reading the likeliest: what does not beat chance cannot,
    and of the first few tokens that is asked without the noise."""
    known = trial.over_chance.nats > 0 if first else trial.over_chance.better
    return known and not trial.gain.worse


def _trial(name: str, mine: Array, theirs: Array, ids: Array, chance: float) -> Trial:
    over_chance = (chance - theirs).reshape(-1)
    gain = (mine - theirs).reshape(-1)
    # A model that knows nothing may favour a frequent token by accident: there the occurrences of
    # one token are one piece of evidence. Between readings of a model that knows, each is its own.
    _, tokens = np.unique(ids[:, 1:].reshape(-1), return_inverse=True)
    return Trial(name, _mean(gain, np.arange(gain.size)), _mean(over_chance, tokens))


def _mean(gains: Array, clusters: Array) -> Gain:
    """The mean of `gains`, and its standard error where those of one cluster stand together."""
    mean = float(gains.mean())
    sums = np.bincount(clusters, weights=gains - mean)
    error = np.sqrt((sums**2).sum() * len(sums) / max(1, len(sums) - 1)) / gains.size
    return Gain(mean, SIGMAS * float(error))


def _layers_permuted(reference: Reference, order: Sequence[int]) -> dict[str, tuple[Tensor, ...]]:
    """Layer chunks (pipeline stages, of as equal a size as can be) in another order."""
    chunks = np.array_split(np.arange(reference.architecture.n_layer), len(order))
    layers = np.concatenate([chunks[chunk] for chunk in order])
    held = reference.checkpoint.tensors
    return {
        layer_name(target, leaf): held[layer_name(layer, leaf)]
        for target, layer in enumerate(layers)
        for leaf in leaves_of(held)
    }
