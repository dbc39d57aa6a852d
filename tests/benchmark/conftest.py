"""One tiny model for all of these tests, on one thread: two would wait for each other."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from support.tiny_gpt2 import write_tiny_gpt2

if not any(map(find_spec, ("llama_cpp", "ctranslate2"))):
    collect_ignore = ["test_installed_peers.py"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gpt2(tmp_path_factory.mktemp("tiny-gpt2"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
