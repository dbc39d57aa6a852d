"""Engines by the name that config gives them. Only the chosen one's modules are imported."""

from importlib import import_module
from pathlib import Path

from megaport.generate.device import Placement
from megaport.generate.engines.base import Engine, EngineError

ENGINES = {
    "fast": "megaport.generate.engines.fast:FastEngine",
    "eager": "megaport.generate.engines.eager:EagerEngine",
    "static": "megaport.generate.engines.static:StaticEngine",
}


def open_engine(name: str, model_dir: Path, placement: Placement) -> Engine:
    """A loaded engine of ENGINES, or anybody's by `module:class`.

    Raises EngineError for an unknown name or an engine that cannot run here.
    """
    module, by_class, attribute = ENGINES.get(name, name).partition(":")
    if not by_class:
        raise EngineError(
            "config key engine",
            seen=repr(name),
            expected=f"one of {', '.join(ENGINES)}",
            remedy="Correct the name.",
        )
    engine: type[Engine] = getattr(import_module(module), attribute)
    return engine.load(model_dir, placement)
