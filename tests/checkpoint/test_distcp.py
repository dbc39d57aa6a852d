"""A .metadata that lies about its .distcp files is refused, naming the key or the file."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from megaport.checkpoint.open import open_checkpoint
from megaport.errors import MegaportError
from support.megatron_files import write_checkpoint
from support.megatron_model import Model

KEY = "model.embedding.position_embeddings.weight"
HERE = MetadataIndex(KEY, torch.Size((0, 0)))


@dataclass
class Described:
    """What the honest .metadata of a one-tensor checkpoint says, for a test to change."""

    size: Any = (8, 16)
    chunks: list[Any] = field(default_factory=lambda: [((0, 0), (8, 16))])
    index: Any = HERE
    dtype: Any = torch.float32
    place: Any = ("__0_0.distcp", 0, None)

    def write(self, folder: Path) -> Path:
        folder.mkdir()
        torch.save(torch.ones(8, 16), folder / "__0_0.distcp")
        file, offset, length = self.place
        stored = _StorageInfo(file, offset, length or (folder / "__0_0.distcp").stat().st_size)
        tensor = TensorStorageMetadata(TensorProperties(dtype=self.dtype), self.size, self.chunks)
        tensor.chunks = [ChunkStorageMetadata(*chunk) for chunk in self.chunks]
        metadata = Metadata({KEY: tensor}, None, {self.index: stored})
        (folder / ".metadata").write_bytes(pickle.dumps(metadata))
        return folder


LIES: dict[str, tuple[Callable[[], Described], str]] = {
    "size that is no size": (lambda: Described(size="wide"), KEY),
    "negative size": (lambda: Described(size=(-8, 16)), KEY),
    "chunk beyond the tensor": (lambda: Described(chunks=[((4, 0), (8, 16))]), KEY),
    "chunk of another shape": (lambda: Described(chunks=[((0, 0), (4, 16))]), KEY),
    "chunk of more axes": (lambda: Described(chunks=[((0, 0, 0), (1, 8, 16))]), KEY),
    "larger tensor": (lambda: Described(size=(9, 16)), KEY),
    "the same chunk twice": (lambda: Described(chunks=[((0, 0), (8, 16))] * 2), KEY),
    "no place": (lambda: Described(index=MetadataIndex("other", torch.Size((0, 0)))), "other"),
    "another dtype": (lambda: Described(dtype=torch.float16), KEY),
    "another file": (lambda: Described(place=("__9_9.distcp", 0, None)), "__9_9.distcp"),
    "a file outside": (lambda: Described(place=("../../etc/passwd", 0, None)), "etc/passwd"),
    "place without numbers": (lambda: Described(place=("__0_0.distcp", "0", None)), KEY),
    "place beyond the file": (lambda: Described(place=("__0_0.distcp", 5, None)), "__0_0.distcp"),
    "huge length": (lambda: Described(place=("__0_0.distcp", 0, 1 << 60)), "__0_0.distcp"),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_metadata_that_lies_is_refused(lie: str, tmp_path: Path) -> None:
    described, named = LIES[lie]
    path = described().write(tmp_path / "c")
    with pytest.raises(MegaportError, match=named.replace(".", r"\.")) as caught:
        open_checkpoint(path, spool=tmp_path)
    assert "missing: word_embeddings" not in str(caught.value)


def test_the_honest_metadata_is_not_the_reason(tmp_path: Path) -> None:
    with pytest.raises(MegaportError, match=r"missing: word_embeddings\.weight"):
        open_checkpoint(Described().write(tmp_path / "c"), spool=tmp_path)


@pytest.mark.parametrize(
    "content", [{}, [1], None, {"state_dict_metadata": {}}, Metadata({}, None, None)], ids=str
)
def test_metadata_of_another_kind_is_refused(content: object, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="torch_dist")
    (path / "iter_0000007" / ".metadata").write_bytes(pickle.dumps(content))
    with pytest.raises(MegaportError, match=r"\.metadata"):
        open_checkpoint(path, spool=tmp_path)
