"""The engines by name; each is imported only when it is asked for."""

from pathlib import Path

from megaport.generate.device import Placement
from megaport.generate.engines.base import Engine, EngineError

NAMES = ("eager", "fast")


def load_engine(name: str, model_dir: Path, placement: Placement) -> Engine:
    """The engine `name`, loaded. Raises EngineError for a name nobody has."""
    if name == "eager":
        from megaport.generate.engines.eager import EagerEngine

        return EagerEngine.load(model_dir, placement)
    if name == "fast":
        from megaport.generate.engines.fast import FastEngine

        return FastEngine.load(model_dir, placement)
    raise EngineError(
        f"engine {name}",
        seen="no engine of that name",
        expected=f"one of {', '.join(NAMES)}",
        remedy="Correct `engine` in config.yaml.",
    )
