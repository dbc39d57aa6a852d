"""Any one wrong entry of Llama's table is refused by the reader or gives other tensors."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from megaport import architectures
from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.convert import convert_checkpoint
from megaport.errors import MegaportError
from megaport.llama import LLAMA
from megaport.table import Row, Table, Transform
from support.llama_files import Llama, write_llama

ROWS = (*LLAMA.first, *LLAMA.layer, *LLAMA.last, LLAMA.head)
SYMBOLS = ("V", "H", "F", "2F", "Q", "A", "K", "D")
# Every symbol another number: what is equal by chance hides nothing.
SIZES = {"heads": 6, "groups": 2, "size": 4, "hidden": 10, "inner": 14, "padded": 16}
MODELS = {"bias": Llama(**SIZES, bias=True, untied=True), "norm": Llama(**SIZES, norm=True)}


def mutants(row: Row) -> Iterator[tuple[str, Row]]:
    """`row` with one entry changed, and what was changed."""
    for other in ROWS:
        if other.target != row.target:
            yield f"named {other.target}", replace(row, target=other.target)
    for transform in Transform:
        # Of a tensor that is one shard the first part is the whole.
        if transform not in (row.transform, Transform.GATE):
            yield transform.name, replace(row, transform=transform)
    for axis in {None, 0, 1} - {row.axis}:
        yield f"axis {axis}", replace(row, axis=axis)
    for place, symbol in enumerate(row.target_shape):
        for other in SYMBOLS:
            if other != symbol.upper():
                law = (*row.target_shape[:place], other, *row.target_shape[place + 1 :])
                yield f"target {law}", replace(row, target_shape=law)


def table_with(old: Row, new: Row) -> Table | None:
    """The table with another row; None where no such table can be."""

    def put(rows: tuple[Row, ...]) -> tuple[Row, ...]:
        return tuple(new if row is old else row for row in rows)

    head = new if old is LLAMA.head else LLAMA.head
    parts = (put(LLAMA.first), put(LLAMA.layer), put(LLAMA.last))
    try:
        return replace(LLAMA, first=parts[0], layer=parts[1], last=parts[2], head=head)
    except ValueError:
        return None


def survives(
    monkeypatch: pytest.MonkeyPatch, table: Table | None, model: Llama, folder: Path, out: Path
) -> bool:
    """Whether `folder`, converted by `table`, is neither refused nor unlike `model`."""
    if table is None:
        return False
    with monkeypatch.context() as patch:
        patch.setattr(architectures, "LLAMA", table)
        try:
            checkpoint = open_checkpoint(folder, spool=out)
            architecture = describe_architecture(checkpoint, {})
            convert_checkpoint(checkpoint, architecture, out, dtype=None, max_shard_size=None)
        except (MegaportError, AssertionError, ValueError, IndexError, KeyError, TypeError):
            return False
    found, expected = load_file(out / "model.safetensors"), model.converted()
    return sorted(found) == sorted(expected) and all(
        torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: write_llama(tmp_path_factory.mktemp(name) / "c", model, "torch", tp=2)
        for name, model in MODELS.items()
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.megatron}-{row.transform.name}")
def test_no_wrong_entry_of_a_row_survives(
    row: Row, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = "norm" if "_layernorm" in row.megatron else "bias"
    model, folder = MODELS[name], folders[name]
    assert survives(monkeypatch, LLAMA, model, folder, tmp_path / "whole")
    found = [
        what
        for number, (what, mutant) in enumerate(mutants(row))
        if survives(monkeypatch, table_with(row, mutant), model, folder, tmp_path / str(number))
    ]
    assert found == []
