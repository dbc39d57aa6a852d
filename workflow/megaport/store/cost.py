"""What building something cost here: wall time and peak memory, an observation, never in a key."""

import json
import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Meter:
    """Started before a build, read after it."""

    def __init__(self) -> None:
        self.started = time.time()
        self.clock = time.perf_counter()

    def read(self) -> dict[str, Any]:
        """Wall seconds, peak resident bytes of this process (getrusage), when and where."""
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "wall_seconds": round(time.perf_counter() - self.clock, 4),
            "peak_rss_bytes": peak_kib * 1024,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "host": os.uname().nodename,
        }


def write_cost(path: Path, cost: Mapping[str, Any], *, hit: bool) -> None:
    """Say under run/ what the build cost, and whether this run built it or found it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"built": dict(cost), "this_run": "cache hit" if hit else "computed"}
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
