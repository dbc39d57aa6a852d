"""What a benchmark measures with, clocks, the memory's speed and peak, and where it was made."""

import os
import platform
import re
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from megaport.generate.hardware import CPUINFO, core_count, cpu_model, machine_key

PACKAGES = ("transformers", "numpy", "triton", "llama-cpp-python", "gguf", "nvidia-ml-py")
PROCESS = Path("/proc/self")
COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}
COPY_REPEATS = 10


class HostClock:
    """Started once, marked once a token, read once at the end; for work that is done when the call
    returns."""

    def start(self) -> None:
        """Wait for earlier work and begin."""
        self._marks: list[float] = []
        self._start = time.perf_counter()

    def mark(self) -> None:
        """Note a point in the work submitted so far; does not wait."""
        self._marks.append(time.perf_counter())

    def read(self) -> tuple[float, list[float]]:
        """Wait for the end; (seconds in all, seconds from start to each mark)."""
        total = time.perf_counter() - self._start
        return total, [mark - self._start for mark in self._marks]


class StreamClock(HostClock):
    """For work in torch's current CUDA stream; the total is the host's, after synchronising."""

    def start(self) -> None:
        torch.cuda.synchronize()
        super().start()
        self._events: list[torch.cuda.Event] = []
        self.mark()

    def mark(self) -> None:
        self._events.append(torch.cuda.Event(enable_timing=True))
        self._events[-1].record()

    def read(self) -> tuple[float, list[float]]:
        torch.cuda.synchronize()
        first, *later = self._events
        return super().read()[0], [first.elapsed_time(event) / 1000 for event in later]


def clock_for(device: str, in_stream: bool) -> HostClock:
    """StreamClock for engines whose marks are points in torch's CUDA stream."""
    return StreamClock() if device == "cuda" and in_stream else HostClock()


def copy_bandwidth(device: str) -> list[float]:
    """Bytes per second, read and written counted, of COPY_REPEATS plain copies far larger than any
    cache: what decode speed is compared with."""
    size = COPY_BYTES[device]
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return [2 * size / _copy(source, target, device) for _ in range(COPY_REPEATS + 2)][2:]


def _copy(source: torch.Tensor, target: torch.Tensor, device: str) -> float:
    clock = clock_for(device, in_stream=True)
    clock.start()
    target.copy_(source)
    clock.mark()
    _, (seconds,) = clock.read()
    return seconds


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
    """Bytes at the peak since reset_peak: the device allocator's on CUDA, else the resident set of
    the whole process; None where unknown."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    try:
        match = re.search(r"^VmHWM:\s*(\d+) kB", (process / "status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match.group(1)) * 1024 if match else None


def environment(device: str) -> dict[str, Any]:
    """All of the place that can change a figure: machine, clocks, load and versions, as JSON."""
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


def _cpu_mhz() -> list[float]:
    text = CPUINFO.read_text() if CPUINFO.is_file() else ""
    return [float(mhz) for mhz in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", text, re.MULTILINE)]


def _temperatures() -> list[float]:
    zones = sorted(Path("/sys/class/thermal").glob("thermal_zone*/temp"))
    return [int(zone.read_text()) / 1000 for zone in zones]


def read_gpu() -> dict[str, Any]:
    """Name, driver, clocks (MHz), temperature (C), power limit (W); or why they are not known."""
    state, unknown = _ask_nvml(
        lambda nvml, handle: {
            "name": nvml.nvmlDeviceGetName(handle),
            "driver": nvml.nvmlSystemGetDriverVersion(),
            "sm_clock_mhz": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
            "temperature_c": nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            "power_limit_w": nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
        }
    )
    return state or {"name": torch.cuda.get_device_name(0), "unknown": unknown}


def joules(device: str) -> float | None:
    """The GPU's energy counter in joules (Volta and later), None where there is none."""
    if device != "cuda":
        return None
    used, _ = _ask_nvml(lambda nvml, handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    return None if used is None else float(used) / 1000


def _ask_nvml(question: Callable[[Any, Any], Any]) -> tuple[Any, str]:
    """What NVIDIA's management library says of torch's GPU, or None and why it does not say."""
    try:
        import pynvml as nvml
    except ImportError as error:
        return None, f"{error}; pip install nvidia-ml-py"
    # By UUID: CUDA_VISIBLE_DEVICES renumbers torch's devices, not NVML's.
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    try:
        nvml.nvmlInit()
        return question(
            nvml, nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid.removeprefix('GPU-')}")
        ), ""
    except nvml.NVMLError as error:
        return None, f"{type(error).__name__}: {error}"
