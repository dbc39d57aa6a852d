"""A checkout in which `assemble` has run, and a warm Snakemake."""

import shutil
from pathlib import Path

import pytest

from support.checkout import Server, checkout


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
    folder = checkout(tmp_path_factory.mktemp("laws") / "pristine")
    ran = snakemake(folder, "assemble")
    assert ran.status == 0, ran.text
    return folder


@pytest.fixture
def built(pristine, tmp_path):
    """A copy that keeps times and links, as `cp -a` does."""
    return Path(shutil.copytree(pristine, tmp_path / "built", symlinks=True))
