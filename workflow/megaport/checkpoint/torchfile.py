"""One file that torch.save wrote, in either serialization, as data: no torch, nothing executed."""

from typing import Any

from megaport.checkpoint.legacy_serialization import read_legacy
from megaport.checkpoint.regions import Region
from megaport.checkpoint.torch_errors import bad_torch_file
from megaport.checkpoint.zip_serialization import read_zipped


def read_torch(data: Region) -> Any:
    """What was saved: dicts, lists, tuples, scalars, text, bytes, `Tensor` views and `Record`s.

    Tensors are views over the mapped file. A tensor of a dtype that Megatron weights never have
    (complex, FP8, quantized) and every unknown class is a `Record`. Raises `BadTorchFileError`,
    `BadPickleError` (`ForbiddenGlobalError`, `PickleTooLargeError`) or `BadArchiveError`.
    """
    start = bytes(data.view[:4])
    if start[:2] == b"PK":
        return read_zipped(data)
    if start[:1] == b"\x80":
        return read_legacy(data)
    seen = f"a file of {data.size} bytes that starts {start!r}" if start else "an empty file"
    raise bad_torch_file(data.name, seen, "a file that torch.save wrote")
