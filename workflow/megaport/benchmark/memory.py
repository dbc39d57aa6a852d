"""Peak memory of what runs: the device allocator's on CUDA, else the process's resident set."""

import re
from pathlib import Path

import torch

PROCESS = Path("/proc/self")


def reset_peak(device: str, process: Path = PROCESS) -> None:
    """Forget the peak so far. Without Linux's /proc there is none to forget."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        # proc(5): 5 resets the peak resident set size to the current one.
        (process / "clear_refs").write_text("5")
    except OSError:
        return


def peak_bytes(device: str, process: Path = PROCESS) -> int | None:
    """Bytes at the peak since reset_peak; on a CPU of the whole process, None where unknown."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    try:
        match = re.search(r"^VmHWM:\s*(\d+) kB", (process / "status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match.group(1)) * 1024 if match else None
