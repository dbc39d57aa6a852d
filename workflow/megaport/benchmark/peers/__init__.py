"""Other people's engines, measured beside ours where they are installed."""

from importlib import import_module
from pathlib import Path

from megaport.generate.device import Placement
from megaport.generate.engines import open_engine
from megaport.generate.engines.base import Engine


def open_contender(name: str, model_dir: Path, placement: Placement) -> Engine:
    """A loaded engine or peer, or anybody's by `module:class`.

    Raises EngineError where it is unknown or cannot run here.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        contender: type[Engine] = getattr(import_module(module), attribute)
        return contender.load(model_dir, placement)
    if name == "llamacpp":
        from megaport.benchmark.peers.llamacpp import LlamaCppEngine

        return LlamaCppEngine.load(model_dir, placement)
    return open_engine(name, model_dir, placement)
