"""Any one wrong entry of the table is refused by the converter or seen by parity's own mapping.

mutmut changes functions only; this changes the table, which is data (docs/maintainers/mutation.md).
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from megaport.convert import table
from megaport.convert.errors import ConversionError
from megaport.convert.table import HEAD, TABLE, Row, Transform
from megaport.parity.checks.tensors import check_tensors
from support.parity_models import Size, convert, random_subject

ROWS = (*TABLE, HEAD)
# Every symbol another number, two ranks: what is equal by chance hides nothing.
SUBJECT = random_subject(
    order="np,3,hn",
    ranks=2,
    untied=True,
    dtype="F16",
    size=Size(layers=2, heads=4, hidden=16, positions=8, vocab=101, padded=128),
)
SYMBOLS = ("V", "v", "P", "H", "F", "3H")


def mutants(row: Row) -> Iterator[tuple[str, Row]]:
    """`row` with one entry changed, and what was changed."""
    for other in ROWS:
        if other.gpt2 != row.gpt2:
            yield f"named {other.gpt2}", replace(row, gpt2=other.gpt2)
    for transform in Transform:
        if transform is not row.transform:
            yield f"{transform.name}", replace(row, transform=transform)
    # An axis for what ranks replicate matters to the export alone, and test_table holds it.
    for axis in {None, 0, 1} - {row.axis} if row.axis is not None else ():
        yield f"axis {axis}", replace(row, axis=axis)
    for field in ("megatron_shape", "gpt2_shape"):
        law = getattr(row, field)
        for place, symbol in enumerate(law):
            for other in SYMBOLS:
                if other != symbol:
                    changed = (*law[:place], other, *law[place + 1 :])
                    yield f"{field} {changed}", replace(row, **{field: changed})


def survives(monkeypatch: pytest.MonkeyPatch, changed: tuple[Row, ...], out: Path) -> bool:
    """Whether a conversion by `changed` is neither refused nor found wrong."""
    with monkeypatch.context() as patch:
        patch.setattr(table, "TABLE", changed[:-1])
        patch.setattr(table, "HEAD", changed[-1])
        try:
            return check_tensors(SUBJECT, convert(SUBJECT, out)).verdict == "passed"
        except (ConversionError, AssertionError, ValueError, IndexError):
            return False


def test_the_table_as_it_is_survives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert survives(monkeypatch, ROWS, tmp_path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.megatron)
def test_no_wrong_entry_of_a_row_survives(
    row: Row, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = ROWS.index(row)
    found = [
        what
        for number, (what, mutant) in enumerate(mutants(row))
        if survives(
            monkeypatch, (*ROWS[:place], mutant, *ROWS[place + 1 :]), tmp_path / str(number)
        )
    ]
    assert found == []
