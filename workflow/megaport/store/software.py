"""Versions of the packages that can change a result, read where the code runs."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

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
    try:
        return version(DISTRIBUTIONS.get(package, package))
    except PackageNotFoundError:
        return "absent"
