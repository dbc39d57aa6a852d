"""Ours: packed weights, preallocated cache, no host synchronisation a token, CUDA graph replay."""

from pathlib import Path
from typing import Self

import torch

from megaport.generate.device import Placement
from megaport.generate.engines.base import (
    EngineError,
    Job,
    check_length,
    finish,
    non_finite,
    out_of_memory,
)
from megaport.generate.engines.network import Network
from megaport.generate.engines.session import Session
from megaport.generate.model_files import Shape, read_shape, read_weights

# How many tokens may be produced beyond the end of the last row before anyone looks.
CHECK_EVERY = 16


class FastEngine:
    """One network, and the buffers (on a GPU: graphs) of the batch form used last."""

    name = "fast"
    in_stream = True

    def __init__(self, network: Network, placement: Placement) -> None:
        self.network, self.placement = network, placement
        self.note = "CUDA graphs" if placement.device == "cuda" else "packed weights, no graphs"
        self._session: Session | None = None

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        shape = read_shape(model_dir)
        try:
            network = _network(shape, model_dir, placement)
        except torch.OutOfMemoryError as error:
            raise out_of_memory("engine fast, weights", placement.device, error) from error
        return cls(network, placement)

    @torch.inference_mode()
    def generate(self, job: Job) -> list[list[int]]:
        check_length(job, self.network.shape.positions)
        try:
            session = self._open(job)
            self._run(session, job)
            return finish(job, session.produced(job.steps))
        except torch.OutOfMemoryError as error:
            self._session = None
            what = f"engine fast, {len(job.prompts)} rows of {job.max_length} tokens"
            raise out_of_memory(what, self.placement.device, error) from error

    def _run(self, session: Session, job: Job) -> None:
        session.prefill(job)
        for step in range(1, job.steps + 1):
            if job.mark:
                job.mark()
            if step == job.steps or (job.stop is not None and step % CHECK_EVERY == 0):
                finite, ended = session.inspect()
                if not finite:
                    raise non_finite(self.name, self.placement.dtype)
                if ended or step == job.steps:
                    return
            session.step()

    def _open(self, job: Job) -> Session:
        session = self._session
        if session is None or not session.fits(job):
            self._session = None  # its memory goes before the next one's comes
            session = Session(self.network, job)
            self._session = session
        return session


def _network(shape: Shape, model_dir: Path, placement: Placement) -> Network:
    weights = read_weights(model_dir)
    try:
        return Network(shape, weights, placement.device, placement.torch_dtype)
    except KeyError as error:
        raise EngineError(
            "model weights",
            seen=f"no tensor {error.args[0]}",
            expected="every tensor of a GPT-2",
            remedy="Build the directory again with `snakemake -c1 assemble`.",
        ) from error
