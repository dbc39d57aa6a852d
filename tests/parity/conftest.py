"""Tiny models run on one thread: handing them to two costs more than they compute."""

import os

import pytest
import torch

# The old converter needs an environment of its own: see build_old_environment.py.
collect_ignore = [] if "MEGAPORT_OLD_TRANSFORMERS" in os.environ else ["test_old_script.py"]


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
