"""The converted model in FP16 or BF16 against itself in float32, on the device at hand."""

import numpy as np

from megaport.parity.comparison import log_softmax
from megaport.parity.result import Result, at_most, judge
from megaport.tensors import Array

# Unit roundoff: half the distance between 1 and the next number of the format.
ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
# How many times the independent roundings of one element may come out above their expected size.
SPREAD = 2.0


def check_precision(name: str, device: str, full: Array, half: Array, layers: int) -> Result:
    """Float32 logits of `full` and `half` precision runs, [1, S, V], of a model of `layers`."""
    # Each block rounds the residual stream twice, and each product in it once; such independent
    # errors grow with the square root of their number.
    relative = SPREAD * ROUNDOFF[name] * (4 * layers + 2) ** 0.5
    scale = _rms(full)
    # A shift common to all logits of a position changes no probability.
    spread = _rms(full - full.mean(axis=-1, keepdims=True))
    left, right = log_softmax(full), log_softmax(half)
    kl = float((np.exp(left) * (left - right)).sum(axis=-1).mean())
    agree = float(np.mean(full.argmax(axis=-1) == half.argmax(axis=-1)))
    return judge(
        f"precision {name}",
        f"Does the model in {name} on this {device} stay near itself in float32?",
        [
            at_most(
                "rms difference of logits, relative to their rms",
                _rms(half - full) / scale,
                relative,
            ),
            at_most("mean KL divergence, nats", kl, (relative * spread) ** 2),
        ],
        reason=f"{SPREAD:g} times the unit roundoff {ROUNDOFF[name]:.2g} times the square root of "
        f"the {4 * layers + 2} roundings between embedding and logits; KL: the square of what "
        "such an error does to differences of logits",
        note=f"argmax agrees on {agree:.0%} of {full.shape[1]} positions",
    )


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))
