"""What tests share: a warm Snakemake, a checkout where `assemble` has run; what may be missing."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

# Read when Triton is imported, which torch may do: its kernels then run on a CPU.
os.environ.setdefault("TRITON_INTERPRET", "1")

from support import browser, mounts, users
from support.checkout import Server, checkout
from support.oracles import ORACLES, oracle_cases


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server") / "output")
    yield server
    server.close()


@pytest.fixture(scope="session")
def snakemake(server):
    return server.snakemake


@pytest.fixture(scope="session")
def pristine(tmp_path_factory, snakemake):
    folder = checkout(tmp_path_factory.mktemp("checkout") / "pristine")
    ran = snakemake(folder, "assemble")
    assert ran.status == 0, ran.text
    return folder


@pytest.fixture
def built(pristine, tmp_path):
    """A copy that keeps times and links, as `cp -a` does."""
    return Path(shutil.copytree(pristine, tmp_path / "built", symlinks=True))


def pytest_report_header() -> list[str]:
    return [
        _oracles(),
        _megatron_core(),
        _triton(),
        *([] if mounts.can_mount() else [mounts.WHY_NOT]),
        *([] if users.can_be_another() else [users.WHY_NOT]),
        *([] if browser.can_judge_pages() else [browser.WHY_NOT]),
    ]


def _megatron_core() -> str:
    if find_spec("megatron"):
        return "megatron-core: installed; it writes a checkpoint in this run"
    return (
        "megatron-core: not installed; tests/checkpoint/test_megatron_core.py is not collected. "
        "`pip install megatron-core` to run it."
    )


def _triton() -> str:
    if find_spec("triton"):
        return "triton: installed; its interpreter runs the kernels in this run"
    return (
        "triton: not installed; test_kernels.py and test_fused.py of tests/generate are not "
        "collected. `pip install triton` on Linux to run them."
    )


def _oracles() -> str:
    count = len(oracle_cases())
    if count:
        return f"oracles: {count} checkpoints written by real Megatron code"
    return (
        f"oracles: none under {ORACLES}; tests against real Megatron files are not collected. "
        "Set MEGAPORT_ORACLES to a folder that holds them."
    )
