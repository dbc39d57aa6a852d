"""zarr v2 beyond what Megatron writes: compressed chunks, edges, and what is refused by name."""

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from megaport.checkpoint.archive import BadArchiveError
from megaport.checkpoint.families.zarr import ZarrError
from megaport.checkpoint.open import open_checkpoint
from megaport.errors import MegaportError
from support.megatron_files import write_checkpoint
from support.megatron_model import Model
from support.reading import assert_holds

KEY = "decoder.layers.mlp.linear_fc1.weight"


def written(tmp_path: Path, **changes: Any) -> Path:
    path = write_checkpoint(tmp_path / "c", Model(), layout="zarr", tp=2)
    array = path / "iter_0000007" / KEY / ".zarray"
    array.write_text(json.dumps(json.loads(array.read_text()) | changes))
    return path


def repack(path: Path, pack: Callable[[bytes], bytes]) -> None:
    for chunk in (path / "iter_0000007" / KEY).glob("[0-9]*"):
        chunk.write_bytes(pack(chunk.read_bytes()))


@pytest.mark.parametrize(("codec", "pack"), [("zlib", zlib.compress), ("gzip", gzip.compress)])
def test_compressed_chunks_are_read(codec: str, pack: Any, tmp_path: Path) -> None:
    path = written(tmp_path, compressor={"id": codec, "level": 1})
    repack(path, pack)
    assert_holds(open_checkpoint(path, spool=tmp_path), Model())


def test_chunks_that_reach_over_the_edge_are_cut(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="zarr")
    folder = path / "iter_0000007" / "embedding.position_embeddings.weight"
    said = json.loads((folder / ".zarray").read_text())
    data = (folder / "0.0").read_bytes()
    (folder / ".zarray").write_text(json.dumps(said | {"chunks": [5, 16]}))
    (folder / "0.0").write_bytes(data[: 5 * 64])
    (folder / "1.0").write_bytes(data[5 * 64 :] + bytes(2 * 64))
    assert_holds(open_checkpoint(path, spool=tmp_path), Model())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"compressor": {"id": "blosc", "cname": "lz4"}}, "compressor blosc"),
        ({"filters": [{"id": "delta"}]}, "filters"),
        ({"dtype": "<c8"}, "dtype <c8"),
        ({"dtype": ">f4"}, "dtype >f4"),
        ({"order": "F"}, "order F"),
        ({"zarr_format": 3}, "zarr v2"),
        ({"dimension_separator": "/"}, "dimension_separator /"),
        ({"chunks": [0, 32, 16]}, "sizes"),
        ({"chunks": [1, 32]}, "as many"),
        ({"shape": [2, -64, 16]}, "sizes"),
        ({"shape": "wide"}, "sizes"),
        ({"chunks": [1, 16, 16]}, "bytes"),
        ({"shape": [10**9, 64, 16]}, "2000000000 chunks"),  # too many to walk over
    ],
    ids=str,
)
def test_what_is_not_readable_is_refused_by_name(
    changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(ZarrError, match=named) as caught:
        open_checkpoint(written(tmp_path, **changes), spool=tmp_path)
    assert KEY in str(caught.value)


BOMB = zlib.compress(bytes(50_000_000), 9)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        *((damage, "inflated|compressed data") for damage in (b"", b"\x78\x9c\x00", b"not zlib")),
        (BOMB, "another size"),
    ],
    ids=["empty", "cut", "none", "bomb"],
)
def test_damaged_compressed_chunks_are_refused(damage: bytes, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, compressor={"id": "zlib"})
    repack(path, lambda _: damage)
    with pytest.raises(BadArchiveError, match=said):
        open_checkpoint(path, spool=tmp_path)


def test_chunks_that_claim_to_inflate_beyond_reason_are_refused(tmp_path: Path) -> None:
    """4 GB of zeros in a chunk of 4 MB: neither memory nor the disk holds any of them."""
    path = written(tmp_path, compressor={"id": "zlib"}, shape=[2, 1 << 20, 2048])
    array = path / "iter_0000007" / KEY / ".zarray"
    array.write_text(json.dumps(json.loads(array.read_text()) | {"chunks": [1, 1 << 20, 1024]}))
    for name in ("0.0.0", "0.0.1", "1.0.0", "1.0.1"):
        array.with_name(name).write_bytes(zlib.compress(bytes(1000)))
    with pytest.raises(BadArchiveError, match="inflate to 4294967296 bytes"):
        open_checkpoint(path, spool=tmp_path / "spool")
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize(
    "sizes", [{"shape": [], "chunks": []}, {"shape": [1] * 9, "chunks": [1] * 9}], ids=len
)
def test_arrays_of_no_or_many_dimensions_are_refused(sizes: dict, tmp_path: Path) -> None:
    path = written(tmp_path, **sizes)
    (path / "iter_0000007" / KEY / "0").write_bytes(bytes(4))
    with pytest.raises(MegaportError, match="linear_fc1"):
        open_checkpoint(path, spool=tmp_path)
