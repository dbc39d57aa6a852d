"""Every engine that can be measured: ours and the peers, by name."""

from pathlib import Path

from megaport.generate.device import Placement
from megaport.generate.engines.base import Engine
from megaport.generate.engines.registry import open_engine


def open_any(name: str, model_dir: Path, placement: Placement) -> Engine:
    """A loaded engine or peer. Raises EngineError where it is unknown or cannot run here."""
    if name == "llamacpp":
        from megaport.benchmark.peers.llamacpp import LlamaCppEngine

        return LlamaCppEngine.load(model_dir, placement)
    if name == "ctranslate2":
        from megaport.benchmark.peers.ctranslate2 import CTranslate2Engine

        return CTranslate2Engine.load(model_dir, placement)
    if name == "vllm":
        from megaport.benchmark.peers.vllm import VllmEngine

        return VllmEngine.load(model_dir, placement)
    return open_engine(name, model_dir, placement)
