"""The memory's speed as a plain copy reaches it: what decode speed is compared with."""

import torch

from megaport.benchmark.clock import clock_for

BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}
REPEATS = 10


def copy_bandwidth(device: str) -> list[float]:
    """Bytes per second, read and written counted, of REPEATS copies far larger than any cache."""
    source = torch.ones(BYTES[device], dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return [2 * BYTES[device] / _copy(source, target, device) for _ in range(REPEATS + 2)][2:]


def _copy(source: torch.Tensor, target: torch.Tensor, device: str) -> float:
    clock = clock_for(device, in_stream=True)
    clock.start()
    target.copy_(source)
    clock.mark()
    _, (seconds,) = clock.read()
    return seconds
