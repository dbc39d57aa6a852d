"""Any one wrong entry of a table is refused by the reader or seen in what is converted by it.

mutmut changes functions only; this changes tables, which are data (docs/maintainers/mutation.md).
What is converted of a GPT-2 is judged by parity's own mapping, of a Llama by what it was made from.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from megaport.checkpoint import architecture
from megaport.errors import MegaportError
from megaport.gpt2 import GPT2
from megaport.llama import LLAMA
from megaport.parity.files import find_differences
from megaport.parity.reference import Reference
from megaport.table import Row, Table, Transform
from support.llama_files import Llama
from support.llama_models import is_written
from support.megatron_files import write_checkpoint
from support.megatron_model import Model
from support.subjects import convert, read

# Every symbol another number: what is equal by chance hides nothing.
MODEL = Model(layers=2, heads=4, hidden=16, positions=8, vocab=101, padded=128, untied=True)
SIZES = {"heads": 6, "groups": 2, "size": 4, "hidden": 10, "inner": 14, "padded": 16}
BIASED, NORMED = Llama(**SIZES, bias=True, untied=True), Llama(**SIZES, norm=True)


@dataclass(frozen=True)
class Case:
    """A table, the checkpoint it is tried on, and whether tensors converted from it are right.

    Of the laws in `fields` each symbol is replaced by each of `symbols`.
    """

    table: Table
    write: Callable[[Path], Path]
    is_right: Callable[[Reference, Path], bool]
    fields: tuple[str, ...]
    symbols: tuple[str, ...]

    def mutants(self, row: Row) -> Iterator[tuple[str, Row]]:
        """`row` with one entry changed, and what was changed."""
        for other in self.table.every:
            if other.target != row.target:
                yield f"named {other.target}", replace(row, target=other.target)
        for transform in Transform:
            if transform is not row.transform:
                yield transform.name, replace(row, transform=transform)
        for axis in {None, 0, 1} - {row.axis}:
            yield f"axis {axis}", replace(row, axis=axis)
        for field in self.fields:
            law = getattr(row, field)
            for place, symbol in enumerate(law):
                for other in self.symbols:
                    # The reader measures what a law says; no Megatron tensor knows the vocabulary.
                    if other != symbol and (field, other) != ("megatron_shape", "v"):
                        changed = (*law[:place], other, *law[place + 1 :])
                        yield f"{field} {changed}", replace(row, **{field: changed})

    def table_with(self, old: Row, new: Row) -> Table:
        """The table with another row; ValueError where no such table can be."""

        def put(rows: tuple[Row, ...]) -> tuple[Row, ...]:
            return tuple(new if row is old else row for row in rows)

        first, layer, last = map(put, (self.table.first, self.table.layer, self.table.last))
        return replace(
            self.table, first=first, layer=layer, last=last, head=put((self.table.head,))[0]
        )

    def survives(self, table: Table, folder: Path, out: Path) -> bool:
        """Whether `folder`, converted by `table`, is neither refused nor found wrong."""
        others = tuple(table if one is self.table else one for one in architecture.TABLES)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(architecture, "TABLES", others)
            subject = read(folder, out, {})
            return self.is_right(subject, convert(subject, out))


def mapped_alike(subject: Reference, out: Path) -> bool:
    return not find_differences(subject, out)


def llama(model: Llama) -> Case:
    write = partial(write_checkpoint, model=model, layout="core", tp=2)
    symbols = ("V", "H", "F", "2F", "Q", "A", "K", "D")
    return Case(LLAMA, write, lambda _, out: is_written(model, out), ("target_shape",), symbols)


CASES = {
    "gpt2": Case(
        GPT2,
        partial(write_checkpoint, model=MODEL, layout="encoder", tp=2),
        mapped_alike,
        ("megatron_shape", "target_shape"),
        ("V", "v", "P", "H", "F", "3H"),
    ),
    "biased": llama(BIASED),
    "normed": llama(NORMED),
}
ROWS = [
    *(("gpt2", row) for row in GPT2.every),
    *(("normed" if "_layernorm" in row.megatron else "biased", row) for row in LLAMA.every),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: case.write(tmp_path_factory.mktemp(name) / "c") for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_the_table_as_it_is_survives(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    assert CASES[name].survives(CASES[name].table, folders[name], tmp_path)


@pytest.mark.parametrize(("name", "row"), ROWS, ids=lambda value: getattr(value, "target", value))
def test_no_wrong_entry_of_a_row_survives(
    name: str, row: Row, folders: dict[str, Path], tmp_path: Path
) -> None:
    case, found = CASES[name], []
    for number, (what, mutant) in enumerate(case.mutants(row)):
        try:
            table = case.table_with(row, mutant)
            if case.survives(table, folders[name], tmp_path / str(number)):
                found.append(what)
        except (MegaportError, AssertionError, ValueError, IndexError, KeyError):
            pass
    assert found == []
