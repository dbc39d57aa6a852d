"""What counts as a change of code: a byte of the files that a step's row names, or its script."""

from pathlib import Path

import pytest

from megaport.store import code
from megaport.store.code import Code


@pytest.fixture
def source(tmp_path, monkeypatch) -> Code:
    library = tmp_path / "megaport"
    for name in ("reader/pickle.py", "reader/deep/zip.py", "reader/notes.txt", "table.py", "b.py"):
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text("x = 1\n")
    (tmp_path / "step.py").write_text("pass\n")
    monkeypatch.setattr(code, "LIBRARY", library)
    return Code(tmp_path / "step.py", ("reader", "table.py"))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("megaport/reader/pickle.py", True),
        ("megaport/reader/deep/zip.py", True),
        ("megaport/table.py", True),
        ("step.py", True),
        ("megaport/b.py", False),
        ("megaport/reader/notes.txt", False),
    ],
)
def test_an_edit_counts_where_the_row_names_the_file(source, tmp_path, name, counts):
    before = source.digest()
    with (tmp_path / name).open("a") as file:
        file.write("# a comment\n")
    assert (source.digest() != before) == counts


def test_a_new_name_counts(source, tmp_path):
    before = source.digest()
    (tmp_path / "megaport/reader/pickle.py").rename(tmp_path / "megaport/reader/pickles.py")
    assert source.digest() != before


def test_what_no_code_computes_has_one_digest(source, tmp_path):
    fetched = Code(tmp_path / "step.py", ())
    before = fetched.digest()
    (tmp_path / "step.py").write_text("other\n")
    assert fetched.digest() == before == Code(Path("elsewhere.py"), ()).digest()
