"""Where a benchmark was made: all that can change its figures."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from megaport.benchmark.instruments import read_gpu
from megaport.generate.hardware import core_count, cpu_model, machine_key

PACKAGES = (
    "transformers",
    "numpy",
    "triton",
    "llama-cpp-python",
    "gguf",
    "nvidia-ml-py",
)


def environment(device: str) -> dict[str, Any]:
    """Machine, clocks, temperatures, load and versions, as JSON."""
    return {
        "machine": machine_key(),
        "cpu": cpu_model(),
        "cores": core_count(),
        "threads": torch.get_num_threads(),
        "cpu_mhz": _cpu_mhz(),
        "temperatures_c": _temperatures(),
        "load_average": list(os.getloadavg()),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "huge_pages": os.environ.get("THP_MEM_ALLOC_ENABLE") == "1",
        "gpu": read_gpu() if device == "cuda" else None,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "versions": {
            "torch": torch.__version__,  # with its build, which the package may not say
            **{name: found for name in PACKAGES if (found := _version(name))},
        },
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_mhz(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[float]:
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return [float(mhz) for mhz in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", text, re.MULTILINE)]


def _temperatures(root: Path = Path("/sys/class/thermal")) -> list[float]:
    zones = sorted(root.glob("thermal_zone*/temp"))
    return [int(zone.read_text()) / 1000 for zone in zones]
