"""Ours: packed weights, preallocated cache, no host synchronisation a token, CUDA graph replay."""

import warnings
from pathlib import Path
from typing import Self

import torch

from megaport.generate.device import Placement
from megaport.generate.engines import fused
from megaport.generate.engines.base import (
    Batch,
    EngineError,
    OutOfMemoryError,
    check_length,
    finish,
    memory_for,
    non_finite,
)
from megaport.generate.engines.decoding import Decoding
from megaport.generate.engines.network import Network
from megaport.generate.model_files import Shape, read_shape, read_weights

# How many tokens may be produced beyond the end of the last row before anyone looks.
CHECK_EVERY = 16


class KernelWarning(UserWarning):
    """The Triton kernels did not pass their trial; torch's own run instead, slower."""


class FastEngine:
    """One network, and the buffers (on a GPU: graphs) of the batch form used last."""

    name = "fast"
    in_stream = True

    def __init__(self, network: Network, placement: Placement) -> None:
        self.network, self.placement = network, placement
        self._decide_kernels(fused.missing(placement.device))
        self._decoding: Decoding | None = None

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        with memory_for(cls.name, placement.device):
            return cls(_network(read_shape(model_dir), model_dir, placement), placement)

    @torch.inference_mode()
    def generate(self, batch: Batch) -> list[list[int]]:
        check_length(batch, self.network.shape.positions)
        try:
            with memory_for(self.name, self.placement.device, batch):
                decoding = self._open(batch)
                self._run(decoding, batch)
                return finish(batch, decoding.produced(batch.steps))
        except OutOfMemoryError:
            self._decoding = None
            raise

    def _run(self, decoding: Decoding, batch: Batch) -> None:
        decoding.prefill(batch)
        for step in range(1, batch.steps + 1):
            if batch.mark:
                batch.mark()
            if step == batch.steps or (batch.stop is not None and step % CHECK_EVERY == 0):
                finite, ended = decoding.inspect()
                if not finite:
                    raise non_finite(self.name, self.placement.dtype)
                if ended or step == batch.steps:
                    return
            decoding.step()

    def _open(self, batch: Batch) -> Decoding:
        decoding = self._decoding
        if decoding is None or not decoding.fits(batch):
            self._decoding = None  # its memory goes before the next one's comes
            decoding = self._decoding = self._new(batch)
        return decoding

    def _new(self, batch: Batch) -> Decoding:
        decoding = Decoding(self.network, batch, fused=self._kernels)
        if decoding.fused and (reason := fused.trial(decoding.fused)):
            self._decide_kernels(reason)
            said = f"engine fast runs without its Triton kernels: {reason}"
            warnings.warn(said, KernelWarning, stacklevel=2)
            decoding = Decoding(self.network, batch)
        return decoding

    def _decide_kernels(self, why_not: str) -> None:
        """From now on decode by the Triton kernels, or, for a reason, by torch's own."""
        self._kernels = not why_not
        if self.placement.device == "cuda":
            without = why_not and f"without Triton kernels: {why_not}"
            self.note = f"CUDA graphs, {without or 'Triton kernels'}"
        else:
            tried = self.network.tried
            self.note = f"weights {self.network.kind.name}{tried and f' (tried, GB/s: {tried})'}"


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
