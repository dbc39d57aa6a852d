"""What can be wrong with a file that torch.save should have written."""

from megaport.errors import MegaportError


class BadTorchFileError(MegaportError):
    """Not a file of torch.save, or one that is damaged, big-endian or of another format."""


def bad_torch_file(where: str, seen: str, expected: str) -> BadTorchFileError:
    return BadTorchFileError(
        where,
        seen=seen,
        expected=expected,
        remedy="Get the file again, or point at the file that holds the model's weights.",
    )
