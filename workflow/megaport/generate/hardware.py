"""What this machine is, read from the kernel: cheap and without torch, so keys can hold it."""

import os
import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
NVIDIA = Path("/proc/driver/nvidia/gpus")


def cpu_model(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name as the kernel gives it, else the machine's architecture."""
    match = re.search(r"^model name\s*:\s*(.+)$", _read(cpuinfo), re.MULTILINE)
    return " ".join(match.group(1).split()) if match else platform.machine()


def core_count() -> int:
    """Cores this process may use, not those the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_names(root: Path = NVIDIA) -> list[str]:
    """Names of the NVIDIA GPUs whose driver is loaded, in PCI order; empty where there is none."""
    found = (_read(entry) for entry in sorted(root.glob("*/information")))
    names = (re.search(r"^Model:\s*(.+)$", text, re.MULTILINE) for text in found)
    return [name.group(1).strip() for name in names if name]


def machine_key() -> str:
    """The machine as part of an action key or a file name: CPU model, cores, GPUs."""
    return "; ".join([cpu_model(), f"{core_count()} cores", *gpu_names()])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
