"""transformers' static cache with the forward pass compiled by Inductor."""

import importlib.util
from pathlib import Path
from typing import Any, Self

from transformers import CompileConfig

from megaport.generate.device import Placement
from megaport.generate.engines.base import EngineError
from megaport.generate.engines.eager import EagerEngine
from megaport.generate.engines.native import compiler


class StaticEngine(EagerEngine):
    """EagerEngine over fixed shapes; its first batch of a shape pays the compilation."""

    name = "static"
    note = "model.generate, static cache, torch.compile"

    @classmethod
    def load(cls, model_dir: Path, placement: Placement) -> Self:
        if missing := missing_compiler(placement.device):
            raise EngineError(
                "engine static",
                seen=f"no {missing}",
                expected="what torch.compile generates code with",
                remedy="Install it, or choose `engine: fast`.",
            )
        return super().load(model_dir, placement)

    def _options(self) -> dict[str, Any]:
        compiled = CompileConfig()
        # transformers compiles by itself on accelerators only.
        compiled._compile_all_devices = True  # type: ignore[assignment]
        return {"cache_implementation": "static", "compile_config": compiled}


def missing_compiler(device: str) -> str:
    """What torch.compile lacks on `device`, or nothing: Triton on CUDA, else a C++ compiler."""
    if device == "cuda":
        return "" if importlib.util.find_spec("triton") else "Triton"
    return "" if compiler() else "C++ compiler (g++ or clang++)"
