"""A decode step as five Triton kernels a layer: what the fast engine runs on a GPU that can."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from megaport.generate.engines.linear import Plain
from megaport.generate.engines.network import Layer, Network
from megaport.generate.sampling import regret

if TYPE_CHECKING:
    from megaport.generate.engines.decoding import Decoding

# Ampere: bfloat16 and asynchronous copies. Hopper: programmatic dependent launch.
LEAST_CAPABILITY, DEPENDENT_LAUNCH = (8, 0), (9, 0)
# Programs that fill a card twice over; the context is split until there are as many.
ENOUGH_PROGRAMS, CHUNK_SLOTS = 256, 64
# How far below torch's best logit the kernels' choice may be, in standard deviations.
TRIAL_REGRET = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.3}


def missing(device: str) -> str:
    """What the kernels lack on `device`, or nothing."""
    if device != "cuda":
        return "a GPU"
    try:
        from megaport.generate.engines import kernels  # noqa: F401
    except ImportError as error:
        return f"Triton ({error})"
    capability = torch.cuda.get_device_capability()
    return "" if capability >= LEAST_CAPABILITY else f"compute capability 8.0 (it has {capability})"


class Tile(NamedTuple):
    """What a program of `linear` computes: `rows` x `outs`, reading `block` inputs at a time."""

    rows: int
    outs: int
    block: int


WARPS = 8
# Outputs a program by epilogue, for one row and for many: enough programs for 132 multiprocessors.
ONE_ROW = {"cache": 8, "gelu": 8, "add": 4, "argmax": 16, "logits": 16}
MANY_ROWS = {"cache": 16, "gelu": 16, "add": 8, "argmax": 64, "logits": 64}


def tile(epilogue: str, rows: int, size: int) -> Tile:
    """The tile for `rows` texts and `size` inputs; registers hold it twice."""
    whole = _power_of_two(size)
    if rows == 1:
        outs = ONE_ROW[epilogue]
        return Tile(1, outs, min(whole, 16384 // outs))
    outs, tall = MANY_ROWS[epilogue], max(16, min(_power_of_two(rows), 64))
    return Tile(tall, outs, max(16, min(whole, 8192 // max(outs, tall))))


class FusedStep:
    """The kernels' buffers beside those of one Decoding, and its step."""

    def __init__(self, network: Network, decoding: "Decoding") -> None:
        from megaport.generate.engines import kernels

        s, rows = network.shape, decoding.rows
        self.kernels, self.network, self.decoding = kernels, network, decoding
        self.chunk, self.splits = _split(decoding.slots, rows * s.heads)
        pdl = network.device == "cuda" and torch.cuda.get_device_capability() >= DEPENDENT_LAUNCH
        self.launch = {"PDL": pdl, **({"launch_pdl": True} if pdl else {})}
        interpreted = os.environ.get("TRITON_INTERPRET") == "1"
        self.upcast = interpreted and network.dtype == torch.bfloat16
        tall = tile("argmax", rows, s.hidden).outs
        self.programs = -(-s.vocabulary // tall)
        self.x = self._buffer(rows, s.hidden)
        self.query = self._buffer(rows, s.hidden, dtype=network.dtype)
        self.mixed = torch.empty_like(self.query)
        self.inner = self._buffer(rows, s.inner, dtype=network.dtype)
        self.sums = self._buffer(rows, s.heads, self.splits, s.hidden // s.heads)
        self.peaks = self._buffer(rows, s.heads, self.splits)
        self.masses = torch.empty_like(self.peaks)
        self.best = self._buffer(rows, self.programs)
        self.winners = self._buffer(rows, self.programs, dtype=torch.int32)
        wanted = 0 if decoding.sampling.greedy else s.vocabulary
        self.logits = self._buffer(rows, wanted)

    def embed(self) -> None:
        """Put the last tokens' embeddings into the residual stream; `pick` does so afterwards."""
        n, d = self.network, self.decoding
        words, places = n.tokens[d.token[:, 0]], n.positions[d.position[:, 0]]
        self.x.copy_(words.float() + places.float())

    def __call__(self) -> None:
        """One token a row, from the last ones; everything that changes lies on the device."""
        n, d = self.network, self.decoding
        for layer, stored in zip(n.layers, d.cache, strict=True):
            self._layer(layer, stored)
        if d.sampling.greedy:
            self._linear("argmax", self.x, n.head, self.best, self.winners, norm=n.norm)
            self._pick()
            return
        self._linear("logits", self.x, n.head, self.logits, norm=n.norm)
        d.advance(self.logits)
        self.embed()

    def _layer(self, layer: Layer, stored: Tensor) -> None:
        self._linear("cache", self.x, layer.qkv, self.query, stored, norm=layer.norm1)
        self._attend(stored)
        self._linear("add", self.mixed, layer.out, self.x)
        self._linear("gelu", self.x, layer.up, self.inner, norm=layer.norm2)
        self._linear("add", self.inner, layer.down, self.x)

    def _linear(
        self,
        epilogue: str,
        x: Tensor,
        layer: Any,
        out: Tensor,
        aside: Tensor | None = None,
        norm: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        assert isinstance(layer, Plain)
        s, d, weight = self.network.shape, self.decoding, layer.weight
        size = weight.shape[1]
        outs = s.vocabulary if epilogue in ("argmax", "logits") else weight.shape[0]
        t = tile(epilogue, d.rows, size)
        gain, shift = norm or (x, x)
        bias = weight if layer.bias is None else layer.bias
        self.kernels.linear[(-(-outs // t.outs), -(-d.rows // t.rows))](
            *(x, gain, shift, weight, bias, out, out if aside is None else aside, d.slot),
            *(d.rows, size, outs, s.heads, d.slots, s.epsilon),
            EPILOGUE=epilogue,
            NORM=norm is not None,
            BIAS=layer.bias is not None,
            TANH=s.gelu == "tanh",
            DOT=t.rows > 1,
            UPCAST=self.upcast,
            ROWS=t.rows,
            OUTS=t.outs,
            BLOCK=t.block,
            num_warps=WARPS,
            **self.launch,
        )

    def _attend(self, stored: Tensor) -> None:
        s, d = self.network.shape, self.decoding
        length = s.hidden // s.heads
        wide = _power_of_two(length)
        self.kernels.attend[(d.rows, s.heads, self.splits)](
            *(self.query, stored, d.first, d.slot, self.mixed, self.sums, self.peaks, self.masses),
            *(s.heads, length, d.slots, self.chunk, length**-0.5),
            SPLITS=self.splits,
            BLOCK=CHUNK_SLOTS,
            LENGTH=wide,
            **self.launch,
        )
        if self.splits > 1:
            self.kernels.combine[(d.rows, s.heads)](
                *(self.sums, self.peaks, self.masses, self.mixed, s.heads, length),
                SPLITS=self.splits,
                BLOCK=_power_of_two(self.splits),
                LENGTH=wide,
                **self.launch,
            )

    def _pick(self) -> None:
        n, d, s = self.network, self.decoding, self.network.shape
        self.kernels.pick[(d.rows,)](
            *(self.best, self.winners, d.token, d.position, d.slot, d.index, d.output),
            *(d.finite, d.ended, d.stop, n.tokens, n.positions, self.x),
            *(self.programs, s.hidden, d.slots, s.positions - 1),
            PROGRAMS=_power_of_two(self.programs),
            HIDDEN=_power_of_two(s.hidden),
            **self.launch,
        )

    def _buffer(self, *size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(size, device=self.network.device, dtype=dtype)


def trial(step: FusedStep) -> str:
    """Why the kernels must not be used here, or nothing: a step at full context beside torch's,
    launched one by one and, on a GPU, as the graph that later steps replay."""
    d = step.decoding
    try:
        said = _tried(step, step)
        if d.replays and not said:
            said = _tried(step, lambda: d.capture(d.slots).replay())
        return said
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever Triton, ptxas or the driver raise
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    finally:
        for stored in d.cache:
            stored.zero_()


def _tried(step: FusedStep, run: Callable[[], None]) -> str:
    d, n = step.decoding, step.network
    logits = _set_up(d, n)
    step.embed()
    run()
    if not d.finite.all():
        return "they gave numbers that are not finite"
    worst = regret(logits, d.output[:, 0])
    return "" if worst <= TRIAL_REGRET[n.dtype] else f"their token is {worst:.3f} off torch's"


def _set_up(d: "Decoding", n: Network) -> Tensor:
    """A full context of seeded noise, and torch's logits [rows, vocabulary] at its end."""
    noise = torch.Generator().manual_seed(0)
    for stored in d.cache:
        stored.copy_(torch.randn(stored.shape, generator=noise))
    tokens = torch.randint(n.shape.vocabulary, (d.rows, 1), generator=noise)
    d.clear(d.slots - 1)
    d.token.copy_(tokens)
    d.position.fill_(min(d.slots, n.shape.positions) - 1)
    d.mask.zero_()
    return n(d.token, d.position, d.slot[:1], d.mask, d.cache, d.slots).float()


def _split(slots: int, programs: int) -> tuple[int, int]:
    """Slots a chunk, and chunks: enough programs to fill a card, none below CHUNK_SLOTS."""
    wanted = max(1, min(-(-slots // CHUNK_SLOTS), ENOUGH_PROGRAMS // programs))
    chunk = -(-slots // wanted // CHUNK_SLOTS) * CHUNK_SLOTS
    return chunk, -(-slots // chunk)


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
