"""What device and dtype are chosen, why, and what is refused."""

from pathlib import Path

import pytest
import torch

from megaport.generate import hardware
from megaport.generate.device import DeviceError, SlowDtypeWarning, resolve_device


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")


def test_config_of_a_gpu_when_there_is_none(no_gpu: None) -> None:
    with pytest.raises(DeviceError, match=r"no CUDA device.*Set `device: auto`"):
        resolve_device("cuda", "auto")


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_cuda_runs_in_fp16_as_the_card_says(gpu: None, asked: str) -> None:
    placement = resolve_device(asked)
    assert (placement.device, placement.dtype) == ("cuda", "float16")
    assert placement.torch_dtype is torch.float16
    assert "NVIDIA H100" in placement.reason


def test_a_cpu_runs_in_what_transformers_takes_there(no_gpu: None) -> None:
    placement = resolve_device()
    assert (placement.device, placement.dtype) == ("cpu", "float32")
    assert "no CUDA device" in placement.reason


def test_the_cpu_may_be_asked_for_beside_a_gpu(gpu: None) -> None:
    placement = resolve_device("cpu", "float32")
    assert (placement.device, placement.dtype) == ("cpu", "float32")
    assert "asks for the CPU" in placement.reason


def test_fp16_on_a_cpu_is_allowed_and_warned_of(no_gpu: None) -> None:
    with pytest.warns(SlowDtypeWarning, match="20 times slower"):
        assert resolve_device("cpu", "float16").dtype == "float16"


@pytest.mark.parametrize(("asked", "dtype"), [("gpu", "auto"), ("auto", "fp16")])
def test_unknown_names_are_refused_with_the_known_ones(asked: str, dtype: str) -> None:
    with pytest.raises(DeviceError, match="expected one of auto"):
        resolve_device(asked, dtype)


def test_the_kernel_says_what_the_cpu_is(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Intel(R) Xeon(R)   Platinum 8481C\n")
    assert hardware.cpu_model(cpuinfo) == "Intel(R) Xeon(R) Platinum 8481C"


def test_a_machine_without_proc_still_has_a_name(tmp_path: Path) -> None:
    assert hardware.cpu_model(tmp_path / "none") == hardware.platform.machine()
    assert hardware.gpu_names(tmp_path) == []


def test_gpus_are_named_in_bus_order(tmp_path: Path) -> None:
    for bus, name in [("0000:b1:00.0", "NVIDIA A100"), ("0000:17:00.0", "NVIDIA H100")]:
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text(f"Model: \t\t {name}\nIRQ: 1\n")
    assert hardware.gpu_names(tmp_path) == ["NVIDIA H100", "NVIDIA A100"]


def test_the_machine_key_says_model_cores_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpu_names", lambda: ["NVIDIA H100"])
    key = hardware.machine_key()
    assert key == f"{hardware.cpu_model()}; {hardware.core_count()} cores; NVIDIA H100"
