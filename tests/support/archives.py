"""Zips built header by header, so that a test can make any field lie; tars as NeMo's; folders."""

import io
import pickle
import struct
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from megaport.checkpoint.files import Files, open_files

REGULAR = 0o100644 << 16


@dataclass(frozen=True)
class File:
    """One member; fields left None follow from the content. `local` overrides the local header."""

    name: bytes
    content: bytes = b""
    method: int = 0
    flags: int = 0
    attributes: int = REGULAR
    body: bytes | None = None
    crc: int | None = None
    size: int | None = None
    compressed: int | None = None
    offset: int | None = None
    extra: bytes = b""
    local: dict[str, int | bytes] = field(default_factory=dict)
    descriptor: bytes | None = None

    def stored(self) -> bytes:
        if self.body is not None:
            return self.body
        if self.method != 8:
            return self.content
        engine = zlib.compressobj(9, zlib.DEFLATED, -15)
        return engine.compress(self.content) + engine.flush()

    def numbers(self) -> tuple[int, int, int]:
        crc = zlib.crc32(self.content) if self.crc is None else self.crc
        size = len(self.content) if self.size is None else self.size
        compressed = len(self.stored()) if self.compressed is None else self.compressed
        return crc, compressed, size

    def header(self) -> bytes:
        mine = replace(self, local={}, **self.local)  # type: ignore[arg-type]
        numbers = (0, 0, 0) if self.flags & 8 and not self.local else mine.numbers()
        fixed = struct.pack("<4s5H", b"PK\x03\x04", 20, mine.flags, mine.method, 0, 33)
        lengths = struct.pack("<3I2H", *numbers, len(mine.name), len(mine.extra))
        return fixed + lengths + mine.name + mine.extra

    def entry(self, offset: int) -> bytes:
        at = offset if self.offset is None else self.offset
        fixed = struct.pack("<4s6H", b"PK\x01\x02", 0x314, 20, self.flags, self.method, 0, 33)
        lengths = struct.pack("<3I3H", *self.numbers(), len(self.name), len(self.extra), 0)
        rest = struct.pack("<2H2I", 0, 0, self.attributes, at)
        return fixed + lengths + rest + self.name + self.extra

    def trailer(self) -> bytes:
        if not self.flags & 8:
            return b""
        if self.descriptor is not None:
            return self.descriptor
        return struct.pack("<4s3I", b"PK\x07\x08", *self.numbers())


def zipped(
    *files: File,
    before: bytes = b"",
    after: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
    zip64: bool = False,
) -> bytes:
    """A zip of `files` in order; `zip64` adds the 64-bit end record as torch does."""
    body, directory = before, b""
    for file in files:
        directory += file.entry(len(body))
        body += file.header() + file.stored() + file.trailer()
    start, size = len(body), len(directory)
    many = len(files) if count is None else count
    large = b""
    if zip64:
        record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, many, many, size, start)
        large = record + struct.pack("<4sIQI", b"PK\x06\x07", 0, start + size, 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, many, many, size, start, len(comment))
    return body + directory + large + end + comment + after


# Members that look like those of NGC's zip.
CONTENT = pickle.dumps("weights", 2)
MODEL = b"release/mp_rank_00/model_optim_rng.pt"
TRACKER = File(b"latest_checkpointed_iteration.txt", b"release\n")
GOOD = File(MODEL, CONTENT)
DEFLATED = File(MODEL, CONTENT * 100, method=8)


def opened(data: bytes, folder: Path) -> Files:
    path = folder / "model.zip"
    path.write_bytes(data)
    return open_files(path, spool=folder / "spool")


def tree(root: Path, **files: bytes) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def tarred(
    files: Mapping[str, bytes],
    *extra: tarfile.TarInfo,
    form: int = tarfile.PAX_FORMAT,
    mode: str = "w:",
    mtime: float = 1.5,
) -> bytes:
    """A tar as NeMo writes it: names that start with "./", a folder, times with fractions."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:
        root = tarfile.TarInfo("./")
        root.type = tarfile.DIRTYPE
        archive.addfile(root)
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mtime = len(content), mtime
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return file.getvalue()
