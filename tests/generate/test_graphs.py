"""The CUDA path as far as a CPU can take it: what is captured when, and that replay is the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from megaport.generate.engines.base import Batch
from megaport.generate.engines.decoding import SPAN, Decoding
from megaport.generate.engines.fast import FastEngine
from megaport.generate.engines.network import VOCABULARY_MULTIPLE, Network
from megaport.generate.model_files import read_shape, read_weights
from megaport.generate.sampling import Sampling
from support.tiny_gpt2 import FP32


class Recorder:
    """Stands for CUDA graphs: capturing runs nothing, replaying runs what was captured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[tuple[str, int]] = []
        self._body: tuple[Decoding, int] | None = None
        self._capturing = False
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: Graph(self))
        monkeypatch.setattr(torch.cuda, "graph", self.capture)
        monkeypatch.setattr(Decoding, "_step", self._observed(Decoding._step))
        init = Decoding.__init__

        def replaying(decoding: Decoding, *args: Any, **named: Any) -> None:
            init(decoding, *args, **named)
            decoding.replays = True

        monkeypatch.setattr(Decoding, "__init__", replaying)

    def _observed(self, step: Any) -> Any:
        def run(decoding: Decoding, span: int) -> None:
            if self._capturing:
                self._body = (decoding, span)
                return
            self.log.append(("run", span))
            step(decoding, span)

        return run

    @contextmanager
    def capture(self, graph: "Graph") -> Iterator[None]:
        self._capturing = True
        yield
        self._capturing = False
        graph.body = self._body
        assert self._body
        self.log.append(("capture", self._body[1]))


class Graph:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.body: tuple[Decoding, int] | None = None

    def replay(self) -> None:
        assert self.body
        decoding, span = self.body
        self.recorder.log.append(("replay", span))
        decoding._step(span)


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(False, top_k=20)], ids=["greedy", "sampled"]
)
def test_replayed_steps_give_the_same_tokens(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, sampling: Sampling
) -> None:
    batch = Batch([[1, 2], [3] * 9], 90, sampling, seeds=[1, 2])
    expected = FastEngine.load(tiny, FP32).generate(batch)
    recorder = Recorder(monkeypatch)
    engine = FastEngine.load(tiny, FP32)
    assert engine.generate(batch) == expected
    assert engine.generate(batch) == expected
    for span in (SPAN, 2 * SPAN):
        events = [event for event, of in recorder.log if of == span and event != "run"]
        assert events[:2] == ["capture", "replay"]
        assert events.count("capture") == 1
    first = recorder.log.index(("capture", SPAN))
    assert recorder.log[:first] == [("run", SPAN)], "one warming run comes before a capture"


def test_no_buffer_of_a_step_ever_moves(tiny: Path) -> None:
    engine = FastEngine.load(tiny, FP32)
    engine.generate(Batch([[1, 2]], 70))
    decoding = engine._decoding
    assert decoding is not None

    def addresses() -> dict[str, int]:
        named = {k: v for k, v in vars(decoding).items() if isinstance(v, torch.Tensor)}
        stored = {f"cache{i}": tensor for i, tensor in enumerate(decoding.cache)}
        return {name: tensor.data_ptr() for name, tensor in (named | stored).items()}

    before = addresses()
    engine.generate(Batch([[9]], 70))
    assert engine._decoding is decoding
    assert addresses() == before


def test_a_padded_vocabulary_gives_no_token_beyond_the_real_one(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU the tables are padded; here `meta` tensors show the shapes that it would use."""
    shape = read_shape(tiny)
    weights = {name: tensor.to("meta") for name, tensor in read_weights(tiny).items()}
    monkeypatch.setattr(Network, "_take", lambda self, name: weights.pop(name))
    network = Network(shape, weights, "cuda", torch.float32)
    assert network.tokens.shape[0] % VOCABULARY_MULTIPLE == 0
    assert network.tokens.shape[0] >= shape.vocabulary
