"""Where and in what number format a model runs, decided once and said in every output."""

import os
import warnings
from dataclasses import dataclass
from typing import get_args

import torch

from megaport.config.model import Device, Dtype
from megaport.errors import MegaportError


class DeviceError(MegaportError):
    """A device or dtype that does not exist here."""


class SlowDtypeWarning(UserWarning):
    """The dtype works here but far slower than another."""


@dataclass(frozen=True)
class Placement:
    """`device` is "cuda" or "cpu", `dtype` a torch dtype name, `reason` why it was chosen."""

    device: str
    dtype: str
    reason: str

    @property
    def torch_dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype


def resolve_device(device: str = "auto", dtype: str = "auto") -> Placement:
    """The placement that config asks for, FP16 on CUDA as the model card says.

    Raises DeviceError for an unknown name and for `cuda` where torch sees no GPU; warns with
    SlowDtypeWarning for float16 on a CPU.
    """
    _check("device", device, get_args(Device))
    _check("dtype", dtype, get_args(Dtype))
    where, why_there = _device(device)
    # Torch reads this at its first allocation: weights on 2 MiB pages decode about a sixth faster
    # on a CPU where the kernel gives such pages only to those who ask.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    number, why_dtype = _dtype(where, dtype)
    if (where, number) == ("cpu", "float16"):
        warnings.warn(why_dtype, SlowDtypeWarning, stacklevel=2)
    return Placement(where, number, f"{why_there}; {why_dtype}")


def _check(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DeviceError(
            f"config key {key}",
            seen=repr(value),
            expected=f"one of {', '.join(known)}",
            remedy=f"Set `{key}: auto` to let the machine decide.",
        )


def _device(asked: str) -> tuple[str, str]:
    if asked == "cpu":
        return "cpu", "the configuration asks for the CPU"
    if torch.cuda.is_available():
        return "cuda", f"torch sees {torch.cuda.get_device_name(0)}"
    built = f"torch {torch.__version__}, built for {torch.version.cuda or 'CPU only'}"
    if asked == "cuda":
        raise DeviceError(
            "device cuda",
            seen=f"no CUDA device ({built})",
            expected="a GPU that torch.cuda.is_available() sees",
            remedy="Set `device: auto` or `device: cpu`, or install a CUDA torch and a driver.",
        )
    return "cpu", f"no CUDA device ({built})"


def _dtype(device: str, asked: str) -> tuple[str, str]:
    if asked == "float16" and device == "cpu":
        return asked, "float16 on a CPU can be 20 times slower than bfloat16 or float32"
    if asked != "auto":
        return asked, f"the configuration asks for {asked}"
    if device == "cuda":
        return "float16", "float16 is the model card's dtype on CUDA"
    return "float32", "float32 on a CPU gives the very text that transformers gives"
