"""What `convert` refuses."""

from pathlib import Path

from megaport.errors import MegaportError


class ConversionError(MegaportError):
    """A checkpoint whose tensors are not exactly those of the model that its architecture says."""


class ExportError(MegaportError):
    """A model that the asked-for Megatron form cannot hold."""


class UnreadableModelError(MegaportError):
    """A model directory that does not hold what it should."""

    @classmethod
    def of(cls, path: Path, error: Exception, expected: str) -> "UnreadableModelError":
        """What was met when `path` was read as `expected`."""
        remedy = "Convert or download the model again."
        return cls(str(path), seen=error, expected=expected, remedy=remedy)
