"""Whether a body begins like a checkpoint: web pages also come with status 200."""

from collections.abc import Iterator
from itertools import chain

from megaport.fetch.errors import SourceError, TryError

ZIP = b"PK"  # a zip: NGC's archive, or a .pt of torch 1.6 and later
PICKLE = b"\x80"  # a .pt in torch's legacy serialization: a pickle stream, opcode PROTO
ENOUGH = 4  # bytes to tell


def checked(chunks: Iterator[bytes], content_type: str) -> Iterator[bytes]:
    """The same bytes, once the first of them are those of a zip or a torch file.

    Raises SourceError where they are not, TryError where there are none, before giving any out.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= ENOUGH:
            break
    if not head:
        raise TryError("an empty body with status 200")
    if not head.startswith((ZIP, PICKLE)):
        raise SourceError(_description(head, content_type))
    return chain([head], chunks)


def _description(head: bytes, content_type: str) -> str:
    if "html" in content_type.lower() or head.lstrip().startswith(b"<"):
        return "a web page instead of the file"
    start = head[:ENOUGH].hex(" ")
    return f"neither a zip nor a torch file (starts with the bytes {start})"
