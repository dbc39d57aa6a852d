"""llama.cpp gives the right tokens; conftest.py collects this only where it is installed."""

from pathlib import Path

import pytest

from megaport.benchmark.peers import PEERS
from megaport.generate.engines import open_engine
from megaport.generate.engines.base import Batch
from support.tiny_gpt2 import FP32


@pytest.mark.parametrize("prompts", [[[1, 2, 3], [7, 8, 9]], [[5]]])
def test_llamacpp_gives_the_greedy_tokens_of_eager(tiny: Path, prompts: list[list[int]]) -> None:
    marks: list[None] = []
    batch = Batch(prompts, 40, mark=lambda: marks.append(None))
    expected = open_engine("eager", tiny, FP32).generate(Batch(prompts, 40))
    assert open_engine(PEERS["llamacpp"], tiny, FP32).generate(batch) == expected
    assert len(marks) == batch.steps
