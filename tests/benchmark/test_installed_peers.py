"""Peers that are installed give the right tokens; conftest.py collects this only where one is."""

from pathlib import Path

import pytest

from megaport.benchmark.peers import ctranslate2, llamacpp
from megaport.benchmark.registry import open_any
from megaport.generate.device import Placement
from megaport.generate.engines.base import Job

FP32 = Placement("cpu", "float32", "a test")
PEERS = {"llamacpp": llamacpp, "ctranslate2": ctranslate2}
INSTALLED = [name for name, peer in PEERS.items() if not peer.available()]


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("prompts", [[[1, 2, 3], [7, 8, 9]], [[5]]])
def test_an_installed_peer_gives_the_greedy_tokens_of_eager(
    tiny: Path, name: str, prompts: list[list[int]]
) -> None:
    job = Job(prompts, 40)
    assert open_any(name, tiny, FP32).generate(job) == open_any("eager", tiny, FP32).generate(job)


@pytest.mark.parametrize("name", INSTALLED)
def test_an_installed_peer_marks_every_token(tiny: Path, name: str) -> None:
    marks: list[None] = []
    peer = open_any(name, tiny, FP32)
    peer.generate(Job([[1, 2], [3, 4]], 12, mark=lambda: marks.append(None)))
    assert len(marks) == 10
