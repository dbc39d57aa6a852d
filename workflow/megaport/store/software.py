"""Versions of the packages that can change a result, read where the code runs."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache

# They show, fetch or schedule; what is computed is checked by digest or does not pass them.
OBSERVERS = frozenset({"tqdm", "requests", "urllib3", "snakemake", "certifi", "adapter"})
# Their versions matter as much as that of the package that calls them.
IMPLIED = {"transformers": ("tokenizers", "safetensors")}
DISTRIBUTIONS = {"yaml": "PyYAML", "pynvml": "nvidia-ml-py", "llama_cpp": "llama-cpp-python"}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Version by import name; a package that is not installed counts as "absent"."""
    counted = set(packages) - OBSERVERS
    for package in tuple(counted):
        counted.update(IMPLIED.get(package, ()))
    return {package: _version(package) for package in sorted(counted)}


def _version(package: str) -> str:
    name = DISTRIBUTIONS.get(package, package)
    return _installed().get(_normal(name)) or _by_metadata(name)


@cache
def _installed() -> dict[str, str]:
    """Version by normal name, as the folders NAME-VERSION.dist-info say it.

    importlib.metadata reads the same from files, after imports that cost a hit a tenth of its time;
    so would a Path for each of a thousand names.
    """
    found: dict[str, str] = {}
    for place in reversed(dict.fromkeys(sys.path)):  # the first on the path wins
        with suppress(OSError), os.scandir(place or ".") as entries:
            for entry in entries:
                if entry.name.endswith(".dist-info"):
                    name, _, version = entry.name.removesuffix(".dist-info").partition("-")
                    found[_normal(name)] = version
    return found


def _by_metadata(name: str) -> str:
    """What is installed in another form (eggs), or not at all."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _normal(name: str) -> str:
    """As folders write it (binary distribution format, "escaping and Unicode")."""
    return name.lower().replace("-", "_").replace(".", "_")
