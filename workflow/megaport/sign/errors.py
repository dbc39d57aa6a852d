"""What `sign` refuses."""

from megaport.errors import MegaportError


class SigningError(MegaportError):
    """Nothing to sign with: no keys are configured, or model-signing is not installed."""


class SigningKeyError(MegaportError):
    """A key that cannot be read, is of another kind, or is not the other one's half."""
