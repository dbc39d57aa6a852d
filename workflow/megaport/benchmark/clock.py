"""When each token was there: by CUDA events where the work is a stream, else by the host."""

import time
from typing import Protocol

import torch


class Clock(Protocol):
    """Started once, marked once a token, read once at the end."""

    def start(self) -> None:
        """Wait for earlier work and begin."""

    def mark(self) -> None:
        """Note a point in the work submitted so far; does not wait."""

    def read(self) -> tuple[float, list[float]]:
        """Wait for the end; (seconds in all, seconds from start to each mark)."""


class HostClock:
    """For work that is done when the call returns."""

    def start(self) -> None:
        self._marks: list[float] = []
        self._start = time.perf_counter()

    def mark(self) -> None:
        self._marks.append(time.perf_counter())

    def read(self) -> tuple[float, list[float]]:
        total = time.perf_counter() - self._start
        return total, [mark - self._start for mark in self._marks]


class StreamClock:
    """For work in torch's current CUDA stream; the total is the host's, after synchronising."""

    def start(self) -> None:
        torch.cuda.synchronize()
        self._events: list[torch.cuda.Event] = []
        self._host = time.perf_counter()
        self._first = self._event()

    def mark(self) -> None:
        self._events.append(self._event())

    def read(self) -> tuple[float, list[float]]:
        torch.cuda.synchronize()
        total = time.perf_counter() - self._host
        return total, [self._first.elapsed_time(event) / 1000 for event in self._events]

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def clock_for(device: str, in_stream: bool) -> Clock:
    """StreamClock for engines whose marks are points in torch's CUDA stream."""
    return StreamClock() if device == "cuda" and in_stream else HostClock()
