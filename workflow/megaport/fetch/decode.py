"""Undo a Content-Encoding nobody asked for, a bounded piece at a time."""

import zlib
from collections.abc import Iterator

from megaport.fetch.errors import SourceError, TryError

PIECE = 1 << 20  # bytes inflated at once: a bomb meets the size limit, not the memory
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # zlib tells the two headers apart


def decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The file's bytes, from a body that is plain, gzip or deflate.

    Raises SourceError for other encodings, TryError for a damaged or cut compressed body.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return chunks
    if name not in ("gzip", "x-gzip", "deflate"):
        raise SourceError(
            "sends an encoding that was not asked for and is neither gzip nor deflate"
        )
    return _inflated(chunks)


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(GZIP_OR_ZLIB)
    for chunk in chunks:
        data = chunk
        while data:
            if inflater.eof:  # gzip members may follow one another (RFC 1952, section 2.2)
                inflater = zlib.decompressobj(GZIP_OR_ZLIB)
            try:
                piece = inflater.decompress(data, PIECE)
            except zlib.error as error:
                raise TryError("damaged compressed body") from error
            data = inflater.unconsumed_tail or inflater.unused_data
            if piece:
                yield piece
    if not inflater.eof:
        raise TryError("compressed body cut before its end")
