"""Whether a body comes fast enough."""

import time

from megaport.fetch.errors import TryError
from megaport.fetch.limits import Limits


class Pace:
    """Counts bytes against `window_bytes` a window and against the source's deadline."""

    def __init__(self, limits: Limits, deadline: float) -> None:
        self.limits = limits
        self.deadline = deadline
        self._open_window()

    def _open_window(self) -> None:
        self.window_end = time.monotonic() + self.limits.window_seconds
        self.received = 0

    def patience(self) -> float:
        """Seconds until the next judgement."""
        return min(self.window_end, self.deadline) - time.monotonic()

    def count(self, received: int) -> None:
        """Add bytes. Raises TryError at the end of a slow window and at the deadline."""
        self.received += received
        now = time.monotonic()
        if now >= self.deadline:
            raise TryError(f"not finished within {self.limits.max_seconds:g} s")
        if now < self.window_end:
            return
        if self.received < self.limits.window_bytes:
            seconds = self.limits.window_seconds
            raise TryError(f"too slow: {self.received:,} bytes in {seconds:g} s")
        self._open_window()
