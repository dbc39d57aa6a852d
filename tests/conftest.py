"""What tests share: a warm Snakemake, a checkout where `assemble` has run; what may be missing."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

# Read when Triton is imported, which torch may do: its kernels then run on a CPU.
os.environ.setdefault("TRITON_INTERPRET", "1")

from support.checkout import Server, checkout
from support.oracles import ORACLES, oracle_cases
from support.places import lacking


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
        _package(
            "megatron-core",
            "megatron",
            "it writes and loads checkpoints",
            "tests/convert/test_megatron_core.py",
        ),
        _package(
            "triton",
            "triton",
            "its interpreter runs the kernels",
            "tests/generate/test_kernels.py, test_fused.py",
        ),
        *lacking(),
    ]


def _package(name: str, module: str, does: str, tests: str) -> str:
    if find_spec(module):
        return f"{name}: installed; {does} in this run"
    return f"{name}: not installed; not collected: {tests}. `pip install {name}` to run all."


def _oracles() -> str:
    count = len(oracle_cases())
    if count:
        return f"oracles: {count} checkpoints written by real Megatron code"
    return (
        f"oracles: none under {ORACLES}; tests against real Megatron files are not collected. "
        "Set MEGAPORT_ORACLES to a folder that holds them."
    )
