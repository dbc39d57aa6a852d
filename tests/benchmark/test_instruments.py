"""Clocks, memory, energy and the machine's name, against doubles of what a CPU lacks."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from megaport.benchmark.instruments import (
    COPY_BYTES,
    COPY_REPEATS,
    HostClock,
    StreamClock,
    clock_for,
    copy_bandwidth,
    environment,
    joules,
    peak_bytes,
    read_gpu,
    reset_peak,
)


def test_the_host_clock_counts_from_its_start() -> None:
    clock = HostClock()
    clock.start()
    clock.mark()
    clock.mark()
    total, marks = clock.read()
    assert len(marks) == 2
    assert 0 <= marks[0] <= marks[1] <= total


class Event:
    """A CUDA event of a stream whose time is the number of events recorded, in milliseconds."""

    recorded = 0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.time = -1

    def record(self) -> None:
        Event.recorded += 1
        self.time = Event.recorded

    def elapsed_time(self, later: "Event") -> float:
        return later.time - self.time


def test_the_stream_clock_reads_events_only_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(Event.recorded))
    clock = clock_for("cuda", in_stream=True)
    assert isinstance(clock, StreamClock)
    start = Event.recorded
    clock.start()
    clock.mark()
    clock.mark()
    total, marks = clock.read()
    assert marks == [0.001, 0.002]
    assert waits == [start, start + 3], "no wait between the tokens"
    assert total > 0


def test_peers_on_a_gpu_are_timed_by_the_host() -> None:
    assert type(clock_for("cuda", in_stream=False)) is HostClock
    assert type(clock_for("cpu", in_stream=True)) is HostClock


def test_peak_memory_is_reset_and_read_where_the_kernel_says_it(tmp_path: Path) -> None:
    (tmp_path / "clear_refs").touch()
    (tmp_path / "status").write_text("VmPeak:\t 900 kB\nVmHWM:\t  512 kB\n")
    reset_peak("cpu", tmp_path)
    assert (tmp_path / "clear_refs").read_text() == "5"
    assert peak_bytes("cpu", tmp_path) == 512 * 1024


def test_peak_memory_is_unknown_where_there_is_no_proc(tmp_path: Path) -> None:
    reset_peak("cpu", tmp_path / "none")
    assert peak_bytes("cpu", tmp_path / "none") is None


def test_a_peak_after_the_reset_is_the_new_one() -> None:
    reset_peak("cpu")
    before = peak_bytes("cpu")
    held = bytearray(64 * 2**20)
    held[:: 2**12] = b"x" * len(held[:: 2**12])
    after = peak_bytes("cpu")
    assert before is not None
    assert after is not None
    assert after - before > 48 * 2**20


def test_the_copy_is_measured_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COPY_BYTES, "cpu", 2**16)
    rates = copy_bandwidth("cpu")
    assert len(rates) == COPY_REPEATS
    assert all(rate > 0 for rate in rates)


class NVMLError(Exception):
    """The base of what NVML raises."""


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    library = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetName=lambda handle: "NVIDIA H100",
        nvmlSystemGetDriverVersion=lambda: "580.1",
        nvmlDeviceGetClockInfo=lambda handle, kind: {1: 1980, 2: 2619}[kind],
        nvmlDeviceGetTemperature=lambda handle, kind: 41,
        nvmlDeviceGetEnforcedPowerLimit=lambda handle: 700_000,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 12_500,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    properties = SimpleNamespace(uuid="11-22")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H100 of torch")
    return library


def test_the_gpus_state_is_what_nvml_says(nvml: SimpleNamespace) -> None:
    assert read_gpu() == {
        "name": "NVIDIA H100",
        "driver": "580.1",
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "temperature_c": 41,
        "power_limit_w": 700.0,
    }
    assert joules("cuda") == 12.5
    assert joules("cpu") is None


def test_the_handle_is_that_of_torchs_device(nvml: SimpleNamespace) -> None:
    seen: list[str] = []
    nvml.nvmlDeviceGetHandleByUUID = seen.append
    joules("cuda")
    assert seen == ["GPU-11-22"]


def test_without_nvml_the_name_stands_and_joules_are_unknown(
    nvml: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found = read_gpu()
    assert found["name"] == "H100 of torch"
    assert "nvidia-ml-py" in found["unknown"]
    assert joules("cuda") is None


def test_what_nvml_refuses_is_unknown_and_any_other_error_is_ours(nvml: SimpleNamespace) -> None:
    def refuse(*_: object) -> None:
        raise NVMLError("Not Supported")

    nvml.nvmlDeviceGetTotalEnergyConsumption = nvml.nvmlDeviceGetClockInfo = refuse
    assert joules("cuda") is None
    assert read_gpu() == {"name": "H100 of torch", "unknown": "NVMLError: Not Supported"}
    del nvml.nvmlDeviceGetTotalEnergyConsumption
    with pytest.raises(AttributeError):
        joules("cuda")


def test_the_environment_names_what_can_change_a_figure() -> None:
    found: dict[str, Any] = environment("cpu")
    assert found["gpu"] is None
    assert found["versions"]["torch"] == torch.__version__
    assert {"machine", "threads", "load_average", "cpu_mhz", "temperatures_c"} <= set(found)
