"""Any one wrong entry of the table is refused by the reader or seen by parity's own mapping.

mutmut changes functions only; this changes the table, which is data (docs/mutation.md).
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from megaport import architectures
from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.open import open_checkpoint
from megaport.errors import MegaportError
from megaport.gpt2 import GPT2
from megaport.parity.files import find_differences
from megaport.parity.references import reference_of
from megaport.table import Row, Table, Transform
from support.megatron_files import write_checkpoint
from support.megatron_model import Model
from support.parity_models import convert

ROWS = (*GPT2.first, *GPT2.layer, *GPT2.last, GPT2.head)
SYMBOLS = ("V", "v", "P", "H", "F", "3H")
# Every symbol another number: what is equal by chance hides nothing.
MODEL = Model(layers=2, heads=4, hidden=16, positions=8, vocab=101, padded=128, untied=True)


def mutants(row: Row) -> Iterator[tuple[str, Row]]:
    """`row` with one entry changed, and what was changed."""
    for other in ROWS:
        if other.target != row.target:
            yield f"named {other.target}", replace(row, target=other.target)
    for transform in Transform:
        # Of a tensor that is one shard the first part is the whole.
        if transform not in (row.transform, Transform.GATE):
            yield f"{transform.name}", replace(row, transform=transform)
    for axis in {None, 0, 1} - {row.axis}:
        yield f"axis {axis}", replace(row, axis=axis)
    for field in ("megatron_shape", "target_shape"):
        law = getattr(row, field)
        for place, symbol in enumerate(law):
            for other in SYMBOLS:
                # The reader measures what a law says; no Megatron tensor knows the vocabulary.
                if other != symbol and (field, other) != ("megatron_shape", "v"):
                    changed = (*law[:place], other, *law[place + 1 :])
                    yield f"{field} {changed}", replace(row, **{field: changed})


def table_with(old: Row, new: Row) -> Table:
    def put(rows: tuple[Row, ...]) -> tuple[Row, ...]:
        return tuple(new if row is old else row for row in rows)

    head = new if old is GPT2.head else GPT2.head
    parts = (put(GPT2.first), put(GPT2.layer), put(GPT2.last))
    return replace(GPT2, first=parts[0], layer=parts[1], last=parts[2], head=head)


def survives(monkeypatch: pytest.MonkeyPatch, table: Table, folder: Path, out: Path) -> bool:
    """Whether `folder`, converted by `table`, is neither refused nor found wrong."""
    with monkeypatch.context() as patch:
        patch.setattr(architectures, "GPT2", table)
        try:
            checkpoint = open_checkpoint(folder, spool=out)
            subject = reference_of(checkpoint, describe_architecture(checkpoint, {}))
            return not find_differences(subject, convert(subject, out))
        except (MegaportError, AssertionError, ValueError, IndexError, KeyError):
            return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("whole"), MODEL, layout="encoder", tp=2)


def test_the_table_as_it_is_survives(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    assert survives(monkeypatch, GPT2, folder, tmp_path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.megatron)
def test_no_wrong_entry_of_a_row_survives(
    row: Row, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    found = [
        what
        for number, (what, mutant) in enumerate(mutants(row))
        if survives(monkeypatch, table_with(row, mutant), folder, tmp_path / str(number))
    ]
    assert found == []
