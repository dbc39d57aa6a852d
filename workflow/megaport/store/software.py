"""Versions of the packages that can change a result, read where the code runs."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Version by name; a package that is not installed counts as "absent"."""
    return {package: _version(package) for package in sorted(packages)}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
