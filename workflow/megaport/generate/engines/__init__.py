"""Engines by the name that config gives them. Only the chosen one's modules are imported."""

from pathlib import Path

from megaport.generate.device import Placement
from megaport.generate.engines.base import Engine, EngineError

ENGINES = ("fast", "eager", "static")


def open_engine(name: str, model_dir: Path, placement: Placement) -> Engine:
    """A loaded engine. Raises EngineError for an unknown name or an engine that cannot run here."""
    if name == "fast":
        from megaport.generate.engines.fast import FastEngine

        return FastEngine.load(model_dir, placement)
    if name == "eager":
        from megaport.generate.engines.eager import EagerEngine

        return EagerEngine.load(model_dir, placement)
    if name == "static":
        from megaport.generate.engines.static import StaticEngine

        return StaticEngine.load(model_dir, placement)
    raise EngineError(
        "config key engine",
        seen=repr(name),
        expected=f"one of {', '.join(ENGINES)}",
        remedy="Correct the name.",
    )
