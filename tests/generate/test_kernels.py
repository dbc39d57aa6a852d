"""Every kernel against float64, by Triton's interpreter, over sizes that no block divides.

benchmarks/card.py runs it on a card: KERNELS_DEVICE=cuda TRITON_INTERPRET=0.
"""

import math
import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from megaport.generate.engines import kernels
from megaport.generate.engines.fused import _power_of_two, tile

DEVICE = os.environ.get("KERNELS_DEVICE", "cpu")
CLOSE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 4e-2}
DTYPES = list(CLOSE)
ROWS = [1, 3, 17]
HEADS, LENGTH, SLOTS = 3, 10, 7
HIDDEN = HEADS * LENGTH


@pytest.fixture(autouse=True)
def on_the_device() -> Iterator[None]:
    with torch.device(DEVICE):
        yield


def noise(*size: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    seeded = torch.Generator("cpu").manual_seed(seed + 31 * len(size))
    return torch.randn(size, generator=seeded, device="cpu").to(DEVICE, dtype)


def near(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> None:
    torch.testing.assert_close(found.double(), wanted, rtol=CLOSE[dtype], atol=CLOSE[dtype])


class Case:
    """A linear layer's inputs, what it gives in float64, and the kernel over them."""

    def __init__(self, epilogue: str, rows: int, size: int, outs: int, dtype: torch.dtype) -> None:
        self.epilogue, self.rows, self.outs, self.dtype = epilogue, rows, outs, dtype
        self.norm = epilogue != "add"
        self.x = noise(rows, size, dtype=torch.float32 if self.norm else dtype) * 3 + 1
        self.gain, self.shift = noise(size, dtype=dtype, seed=1), noise(size, dtype=dtype, seed=2)
        self.weight = noise(outs, size, dtype=dtype, seed=3) / math.sqrt(size)
        self.bias = noise(outs, dtype=dtype, seed=4)
        self.slot = torch.arange(rows) % SLOTS

    def exact(self) -> Tensor:
        x = self.x.double()
        if self.norm:
            given = self.gain.double(), self.shift.double()
            x = functional.layer_norm(x, x.shape[-1:], *given, eps=1e-5)
        return functional.linear(x, self.weight.double(), self.bias.double())

    def run(self, out: Tensor, aside: Tensor, *, tanh: bool = True) -> None:
        t = tile(self.epilogue, self.rows, self.x.shape[1])
        grid = (-(-self.outs // t.outs), -(-self.rows // t.rows))
        kernels.linear[grid](
            *(self.x, self.gain, self.shift, self.weight, self.bias, out, aside, self.slot),
            *(self.rows, self.x.shape[1], self.outs, HEADS, SLOTS, 1e-5),
            EPILOGUE=self.epilogue,
            NORM=self.norm,
            BIAS=True,
            TANH=tanh,
            DOT=t.rows > 1,
            UPCAST=self.dtype == torch.bfloat16,
            PDL=False,
            ROWS=t.rows,
            OUTS=t.outs,
            BLOCK=t.block,
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", ROWS)
def test_queries_are_kept_and_keys_and_values_go_to_the_cache(
    rows: int, dtype: torch.dtype
) -> None:
    case = Case("cache", rows, HIDDEN, 3 * HIDDEN, dtype)
    query = torch.zeros(rows, HIDDEN, dtype=dtype)
    cache = torch.full((rows, 2, HEADS, SLOTS, LENGTH), 7.0, dtype=dtype)
    case.run(query, cache)
    wanted = case.exact().view(rows, 3, HEADS, LENGTH)
    near(query, wanted[:, 0].reshape(rows, HIDDEN), dtype)
    every = torch.arange(rows)
    near(cache[every, :, :, case.slot], wanted[:, 1:], dtype)
    cache[every, :, :, case.slot] = 7.0
    assert (cache == 7.0).all(), "nothing is written beside the slot"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("tanh", [True, False])
def test_the_layer_up_ends_with_its_gelu(rows: int, dtype: torch.dtype, tanh: bool) -> None:
    case = Case("gelu", rows, 160, 77, dtype)
    out = torch.zeros(rows, 77, dtype=dtype)
    case.run(out, out, tanh=tanh)
    near(out, functional.gelu(case.exact(), approximate="tanh" if tanh else "none"), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", ROWS)
def test_projections_are_added_to_the_residual_stream(rows: int, dtype: torch.dtype) -> None:
    case = Case("add", rows, 5000, 33, dtype)
    stream = noise(rows, 33, seed=9)
    wanted = stream.double() + case.exact()
    case.run(stream, stream)
    near(stream, wanted, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", ROWS)
def test_the_head_gives_logits_or_each_programs_best(rows: int, dtype: torch.dtype) -> None:
    case = Case("logits", rows, 50, 301, dtype)
    logits = torch.zeros(rows, 301)
    case.run(logits, logits)
    near(logits, case.exact(), dtype)
    case.epilogue = "argmax"
    outs = tile("argmax", rows, 50).outs
    best = torch.zeros(rows, -(-301 // outs))
    winners = torch.zeros_like(best, dtype=torch.int32)
    case.run(best, winners)
    assert torch.equal(winners.gather(1, best.argmax(1)[:, None])[:, 0], logits.argmax(1))
    assert torch.equal(best.amax(1), logits.amax(1))


def test_a_head_that_is_not_a_number_is_infinite() -> None:
    case = Case("argmax", 3, 50, 301, torch.float32)
    case.weight[200] = torch.nan
    best = torch.zeros(3, -(-301 // tile("argmax", 3, 50).outs))
    case.run(best, torch.zeros_like(best, dtype=torch.int32))
    assert torch.isinf(best).sum(1).tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("splits", [1, 3, 5])
@pytest.mark.parametrize("length", [10, 64])
def test_attention_sees_each_rows_own_context_however_it_is_split(
    length: int, splits: int, dtype: torch.dtype
) -> None:
    rows, slots, chunk = 3, 150, -(-150 // splits)
    first, slot = torch.tensor([0, 120, 7]), torch.tensor([149, 121, 7])
    query = noise(rows, HEADS * length, dtype=dtype)
    cache = noise(rows, 2, HEADS, slots, length, dtype=dtype)
    mixed = torch.zeros(rows, HEADS * length)
    sums = torch.full((rows, HEADS, splits, length), torch.nan)
    peaks, masses = sums[..., 0].clone(), sums[..., 0].clone()
    kernels.attend[(rows, HEADS, splits)](
        *(query, cache, first, slot, mixed, sums, peaks, masses),
        *(HEADS, length, slots, chunk, length**-0.5),
        SPLITS=splits,
        PDL=False,
        BLOCK=16,
        LENGTH=_power_of_two(length),
    )
    if splits > 1:
        kernels.combine[(rows, HEADS)](
            *(sums, peaks, masses, mixed, HEADS, length),
            SPLITS=splits,
            PDL=False,
            BLOCK=_power_of_two(splits),
            LENGTH=_power_of_two(length),
        )
    for row in range(rows):
        seen = cache[row, :, :, first[row] : slot[row] + 1].double()
        asked = query[row].double().view(HEADS, 1, length)
        wanted = functional.scaled_dot_product_attention(asked, seen[0], seen[1])
        near(mixed[row], wanted.flatten(), torch.float32)


def test_the_best_token_is_noted_and_its_embedding_is_next() -> None:
    rows, programs, hidden, slots = 3, 5, 20, 9
    s = SimpleNamespace(
        best=noise(rows, programs),
        winners=torch.arange(rows * programs, dtype=torch.int32).view(rows, programs),
        token=torch.zeros(rows, 1, dtype=torch.int64),
        position=torch.tensor([[2], [5], [11]]),
        slot=torch.tensor([4, 4, 4]),
        index=torch.tensor([2, 2, 2]),
        output=torch.zeros(rows, slots, dtype=torch.int64),
        finite=torch.tensor([True, False, True]),
        ended=torch.tensor([False, False, True]),
    )
    s.best[2, 3] = torch.inf
    chosen = s.winners.gather(1, s.best.argmax(1)[:, None])[:, 0].long()
    tokens, positions = noise(15, hidden), noise(12, hidden, seed=5)
    x = torch.zeros(rows, hidden)
    kernels.pick[(rows,)](
        *vars(s).values(),
        *(chosen[:1].clone(), tokens, positions, x, programs, hidden, slots, 11),
        PDL=False,
        PROGRAMS=8,
        HIDDEN=32,
    )
    assert torch.equal(s.token[:, 0], chosen)
    assert torch.equal(s.output[:, 2], chosen)
    assert s.output.count_nonzero() == chosen.count_nonzero()
    assert s.position[:, 0].tolist() == [3, 6, 11], "no place beyond the last"
    assert (s.slot.tolist(), s.index.tolist()) == ([5] * 3, [3] * 3)
    assert s.finite.tolist() == [True, False, False]
    assert s.ended.tolist() == [True, False, True]
    assert torch.equal(x, tokens[chosen] + positions[s.position[:, 0]])
