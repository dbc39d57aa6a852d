"""What can go wrong with a store or a receipt, as the user sees it."""

from megaport.errors import MegaportError


class StoreError(MegaportError):
    """The store cannot be read, written or locked."""


class ReceiptError(MegaportError):
    """A receipt is missing, damaged or written by another version of this workflow."""


class OutputError(MegaportError):
    """A step did not write what it promised, or the code changed under it."""
