"""What `convert` refuses."""

from megaport.errors import MegaportError


class ConversionError(MegaportError):
    """A checkpoint whose tensors are not exactly those of the GPT-2 that its architecture says."""


class ExportError(MegaportError):
    """A model that the asked-for Megatron form cannot hold."""
