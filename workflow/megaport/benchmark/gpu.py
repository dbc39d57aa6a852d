"""What NVIDIA's management library says of the GPU: energy used, clocks, temperature, driver."""

from typing import Any

import torch


def read_gpu() -> dict[str, Any]:
    """Name, driver, clocks (MHz), temperature (C), power limit (W); or why they are not known."""
    try:
        import pynvml as nvml

        handle = _handle(nvml)
        return {
            "name": nvml.nvmlDeviceGetName(handle),
            "driver": nvml.nvmlSystemGetDriverVersion(),
            "sm_clock_mhz": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
            "temperature_c": nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            "power_limit_w": nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
        }
    except Exception as error:
        return {"name": torch.cuda.get_device_name(0), "unknown": _why(error)}


def joules() -> float | None:
    """The GPU's energy counter in joules (Volta and later), None where there is none."""
    try:
        import pynvml as nvml

        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(_handle(nvml))) / 1000
    except Exception:
        return None


def _handle(nvml: Any) -> Any:
    nvml.nvmlInit()
    # By UUID: CUDA_VISIBLE_DEVICES renumbers torch's devices, not NVML's.
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    return nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}; pip install nvidia-ml-py"
