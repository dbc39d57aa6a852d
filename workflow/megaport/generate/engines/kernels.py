"""The decode step's kernels in Triton: what one token costs beside reading the weights once.

A row is one text of the batch. `x` is the residual stream, float32 [rows, hidden]; weights are
[out, in] in float16, bfloat16 or float32; sums are float32. Sizes need not be powers of two: blocks
are, and masks cut them. With PDL (programmatic dependent launch, Hopper and later) a
kernel starts while the one before still runs, loads weights, and waits before it reads or writes
anything else; every program waits, so that completion carries over from kernel to kernel.
"""
# mypy: ignore-errors

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def _await_inputs(PDL: tl.constexpr):
    if PDL:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def _gelu(v, TANH: tl.constexpr):
    if TANH:
        inner = 0.7978845608028654 * (v + 0.044715 * v * v * v)
        return v * (1.0 - 1.0 / (tl.exp(2.0 * inner) + 1.0))
    return 0.5 * v * (1.0 + tl.erf(v * 0.7071067811865476))


@triton.jit
def _moments(x, r, rows, size, epsilon, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Mean and reciprocal standard deviation of rows `r` of x, in two passes."""
    columns = tl.arange(0, BLOCK)
    there = x + r[:, None].to(tl.int64) * size + columns[None, :]
    total = tl.zeros([ROWS], tl.float32)
    for start in range(0, size, BLOCK):
        inside = (r < rows)[:, None] & (start + columns < size)[None, :]
        total += tl.sum(tl.load(there + start, mask=inside, other=0.0), 1)
    mean = total / size
    spread = tl.zeros([ROWS], tl.float32)
    for start in range(0, size, BLOCK):
        inside = (r < rows)[:, None] & (start + columns < size)[None, :]
        off = tl.where(inside, tl.load(there + start, mask=inside, other=0.0) - mean[:, None], 0.0)
        spread += tl.sum(off * off, 1)
    return mean, tl.rsqrt(spread / size + epsilon)


@triton.jit
def _product(
    x, gain, shift, weight, r, o, rows, size, outs, epsilon,
    NORM: tl.constexpr, DOT: tl.constexpr, UPCAST: tl.constexpr, PDL: tl.constexpr,
    ROWS: tl.constexpr, OUTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """LayerNorm(x)[r] (NORM) or x[r], times weight[o]: float32 [ROWS, OUTS].

    DOT uses tensor cores for many rows, else one row is multiplied element by element.
    """
    columns = tl.arange(0, BLOCK)
    wanted = weight + o[:, None].to(tl.int64) * size + columns[None, :]
    known = (o < outs)[:, None]
    held = tl.load(wanted, mask=known & (columns < size)[None, :], other=0.0)
    _await_inputs(PDL)
    if NORM:
        mean, scale = _moments(x, r, rows, size, epsilon, ROWS, BLOCK)
    there = x + r[:, None].to(tl.int64) * size + columns[None, :]
    sums = tl.zeros([ROWS, OUTS], tl.float32)
    for start in range(0, size, BLOCK):
        at = start + columns
        inside = (r < rows)[:, None] & (at < size)[None, :]
        given = tl.load(there + start, mask=inside, other=0.0)
        if NORM:
            gains = tl.load(gain + at, mask=at < size, other=0.0).to(tl.float32)
            shifts = tl.load(shift + at, mask=at < size, other=0.0).to(tl.float32)
            given = (given - mean[:, None]) * scale[:, None] * gains[None, :] + shifts[None, :]
        if DOT:
            left, right = given.to(held.dtype), held
            if UPCAST:  # Triton's interpreter multiplies the bits of bfloat16 as integers
                left, right = left.to(tl.float32), right.to(tl.float32)
            sums = tl.dot(left, tl.trans(right), sums, input_precision="ieee")
        else:
            sums += tl.sum(given.to(tl.float32) * held.to(tl.float32), 1)[None, :]
        ahead = at + BLOCK < size
        held = tl.load(wanted + start + BLOCK, mask=known & ahead[None, :], other=0.0)
    return sums


@triton.jit
def linear(
    x, gain, shift, weight, bias, out, aside, slot, rows, size, outs, heads, slots, epsilon,
    EPILOGUE: tl.constexpr, NORM: tl.constexpr, BIAS: tl.constexpr, TANH: tl.constexpr,
    DOT: tl.constexpr, UPCAST: tl.constexpr, PDL: tl.constexpr,
    ROWS: tl.constexpr, OUTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A linear layer with what comes before it (NORM: LayerNorm) and after it (EPILOGUE):

    "cache": queries to `out` [rows, hidden], keys and values to the cache `aside` [rows, 2, heads,
    slots, head size] at `slot` [rows]; "gelu": its GELU to `out` [rows, outs]; "add": added to the
    residual stream `out`; "logits": float32 to `out`; "argmax": the largest of this program's
    outputs to `out`, its index to `aside`, both [rows, programs]; NaN counts as infinity.
    """
    r = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    o = tl.program_id(0) * OUTS + tl.arange(0, OUTS)
    v = _product(
        x, gain, shift, weight, r, o, rows, size, outs, epsilon,
        NORM, DOT, UPCAST, PDL, ROWS, OUTS, BLOCK,
    )  # fmt: skip
    if BIAS:
        v += tl.load(bias + o, mask=o < outs, other=0.0).to(tl.float32)[None, :]
    keep = (r < rows)[:, None] & (o < outs)[None, :]
    wide = r[:, None].to(tl.int64)
    if EPILOGUE == "cache":
        hidden = outs // 3
        part, inner = o // hidden, o % hidden
        length = hidden // heads
        tl.store(out + wide * hidden + inner[None, :], v, mask=keep & (part == 0)[None, :])
        at = tl.load(slot + r, mask=r < rows, other=0)[:, None]
        head = (wide * 2 + (part - 1)[None, :]) * heads + (inner // length)[None, :]
        place = (head * slots + at) * length + (inner % length)[None, :]
        tl.store(aside + place, v, mask=keep & (part > 0)[None, :])
    elif EPILOGUE == "gelu":
        tl.store(out + wide * outs + o[None, :], _gelu(v, TANH), mask=keep)
    elif EPILOGUE == "add":
        stream = out + wide * outs + o[None, :]
        tl.store(stream, tl.load(stream, mask=keep, other=0.0) + v, mask=keep)
    elif EPILOGUE == "logits":
        tl.store(out + wide * outs + o[None, :], v, mask=keep)
    else:
        v = tl.where(v == v, v, float("inf"))
        peak, place = tl.max(tl.where(keep, v, float("-inf")), 1, return_indices=True)
        mine = r.to(tl.int64) * tl.num_programs(0) + tl.program_id(0)
        tl.store(out + mine, peak, mask=r < rows)
        tl.store(aside + mine, tl.program_id(0) * OUTS + place, mask=r < rows)


@triton.jit
def attend(
    query, cache, first, slot, mixed, sums, peaks, masses, heads, length, slots, chunk, scale,
    SPLITS: tl.constexpr, PDL: tl.constexpr, BLOCK: tl.constexpr, LENGTH: tl.constexpr,
):  # fmt: skip
    """One head of one row over slots `first` to `slot`: to `mixed` [rows, hidden], or, where the
    context is split, a chunk's softmax-weighted sum, its largest score and its mass for `combine`.
    """
    row, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    d = tl.arange(0, LENGTH)
    real = d < length
    unit = (row.to(tl.int64) * 2 * heads + head) * slots * length
    keys = cache + unit
    values = cache + unit + heads * slots * length
    _await_inputs(PDL)
    low = tl.maximum(tl.load(first + row), split * chunk)
    high = tl.minimum(tl.load(slot + row) + 1, (split + 1) * chunk)
    place = (row * heads + head) * length + d
    asked = tl.load(query + place, mask=real, other=0.0).to(tl.float32) * scale
    total = tl.zeros([LENGTH], tl.float32)
    peak = float("-inf")
    mass = 0.0
    for start in range(low, high, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = (at < high)[:, None] & real[None, :]
        where = at[:, None] * length + d[None, :]
        key = tl.load(keys + where, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(values + where, mask=inside, other=0.0).to(tl.float32)
        score = tl.where(at < high, tl.sum(key * asked[None, :], 1), float("-inf"))
        top = tl.maximum(peak, tl.max(score, 0))
        share = tl.exp(score - top)
        shrink = tl.exp(peak - top)
        total = total * shrink + tl.sum(share[:, None] * value, 0)
        mass = mass * shrink + tl.sum(share, 0)
        peak = top
    if SPLITS == 1:
        tl.store(mixed + place, total / mass, mask=real)
    else:
        mine = (row * heads + head) * SPLITS + split
        tl.store(sums + mine * length + d, total, mask=real)
        tl.store(peaks + mine, peak)
        tl.store(masses + mine, mass)


@triton.jit
def combine(
    sums, peaks, masses, mixed, heads, length,
    SPLITS: tl.constexpr, PDL: tl.constexpr, BLOCK: tl.constexpr, LENGTH: tl.constexpr,
):  # fmt: skip
    """The chunks of one head of one row become one; an empty chunk has no mass."""
    unit = tl.program_id(0) * heads + tl.program_id(1)
    d, s = tl.arange(0, LENGTH), tl.arange(0, BLOCK)
    _await_inputs(PDL)
    mine = unit * SPLITS + s
    peak = tl.load(peaks + mine, mask=s < SPLITS, other=float("-inf"))
    share = tl.exp(peak - tl.max(peak, 0))
    mass = tl.sum(share * tl.load(masses + mine, mask=s < SPLITS, other=0.0), 0)
    inside = (s < SPLITS)[:, None] & (d < length)[None, :]
    total = tl.load(sums + mine[:, None] * length + d[None, :], mask=inside, other=0.0)
    mean = tl.sum(share[:, None] * total, 0) / mass
    tl.store(mixed + unit * length + d, mean, mask=d < length)


@triton.jit
def pick(
    peaks, winners, token, position, slot, index, output, finite, ended, stop,
    tokens, positions, x, programs, hidden, slots, last,
    PDL: tl.constexpr, PROGRAMS: tl.constexpr, HIDDEN: tl.constexpr,
):  # fmt: skip
    """A row's token from every program's best: noted, and its embedding put into `x`."""
    row = tl.program_id(0)
    p, h = tl.arange(0, PROGRAMS), tl.arange(0, HIDDEN)
    _await_inputs(PDL)
    best = tl.load(peaks + row * programs + p, mask=p < programs, other=float("-inf"))
    top, winner = tl.max(best, 0, return_indices=True)
    chosen = tl.load(winners + row * programs + winner).to(tl.int64)
    at = tl.load(index + row)
    place = tl.minimum(tl.load(position + row) + 1, last)
    word = tl.load(tokens + chosen * hidden + h, mask=h < hidden, other=0.0).to(tl.float32)
    here = tl.load(positions + place * hidden + h, mask=h < hidden, other=0.0).to(tl.float32)
    tl.store(x + row * hidden + h, word + here, mask=h < hidden)
    tl.store(output + row * slots + at, chosen)
    tl.store(token + row, chosen)
    tl.store(position + row, place)
    tl.store(slot + row, tl.load(slot + row) + 1)
    tl.store(index + row, at + 1)
    tl.store(finite + row, tl.load(finite + row) & (tl.abs(top) < float("inf")))
    tl.store(ended + row, tl.load(ended + row) | (chosen == tl.load(stop)))
