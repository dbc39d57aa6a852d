"""Files that the fuzzer starts from: both serializations, bare and in archives of both methods."""

import argparse
import functools

import torch

from support.archives import TRACKER, File, tarred, zipped
from support.torchfiles import saved


@functools.cache
def seeds() -> dict[str, bytes]:
    """Small files with shared storages, args, an ordered dict and random states; seeded."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 6, generator=generator)
    value = {
        "model": {"w": weight.half(), "b": torch.arange(3.0), "t": weight.t(), "row": weight[2]},
        "args": argparse.Namespace(num_layers=2, name="tiny", rate=1e-4, none=None),
        "rng": [generator.get_state()[:16], (1, 2, (3, 4)), {"x": b"bytes"}],
        "iteration": 7,
    }
    files = {kind: saved(value, kind) for kind in ("legacy", "zip")}
    member = b"release/mp_rank_00/model_optim_rng.pt"
    for kind in ("legacy", "zip"):
        for method, label in ((0, "stored"), (8, "deflated")):
            archive = zipped(TRACKER, File(member, files[kind], method=method))
            files[f"{kind} {label}"] = archive
        files[f"{kind} tar"] = tarred({member.decode(): files[kind]})
    return files
