"""megatron.core on a machine without a GPU, in one process."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch


class NoDropoutState:
    """What stands for the random states of CUDA; nothing here drops out."""

    fork = staticmethod(contextlib.nullcontext)


@contextlib.contextmanager
def one_rank(scratch: Path) -> Iterator[None]:
    """megatron.core's process groups of one rank, with answers for what wants a GPU."""
    from megatron.core import parallel_state, tensor_parallel

    with (
        mock.patch.object(torch.cuda, "current_device", lambda: torch.device("cpu")),
        mock.patch.object(tensor_parallel, "get_cuda_rng_tracker", NoDropoutState),
    ):
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{scratch}/rendezvous", rank=0, world_size=1
        )
        parallel_state.initialize_model_parallel()
        yield
        parallel_state.destroy_model_parallel()
        torch.distributed.destroy_process_group()
