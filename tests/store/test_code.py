"""What counts as a change of code, and what does not."""

from pathlib import Path

import pytest

from megaport.store import code

SCRIPT = "from megaport.alpha import one\none()\n"
ALPHA = "from megaport.deep import beta\n\ndef one():\n    return beta.two()\n"
BETA = "def two():\n    return 2\n"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A script that reaches megaport.deep.beta through megaport.alpha."""
    library = tmp_path / "megaport"
    (library / "deep").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "alpha.py": ALPHA,
        "deep/__init__.py": "",
        "deep/beta.py": BETA,
        "unused.py": "x = 1\n",
    }.items():
        (library / name).write_text(text)
    monkeypatch.setattr(code, "WORKFLOW", tmp_path)
    code.forget()
    path = tmp_path / "step.py"
    path.write_text(SCRIPT)
    yield path
    code.forget()


def digest(script: Path) -> str:
    code.forget()
    return code.code_digest(script)


def edit(script: Path, name: str, text: str) -> str:
    (script.parent / "megaport" / name).write_text(text)
    return digest(script)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep/beta.py", "# a comment\ndef two():\n    return 2  # and another\n"),
        ("deep/beta.py", '"""A docstring."""\n\n\ndef two():\n    """Another."""\n    return 2\n'),
        ("deep/beta.py", "def two( ):\n        return (2)\n"),
        ("unused.py", "x = 2\n"),
        ("store.py", "x = 2\n"),
    ],
    ids=["comments", "docstrings", "format", "a module not reached", "the store"],
)
def test_does_not_count(script, name, text):
    assert digest(script) == edit(script, name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep/beta.py", "def two():\n    return 3\n"),
        ("alpha.py", ALPHA.replace("two()", "two() + 0")),
        ("deep/__init__.py", "import os\n"),
    ],
    ids=["a helper two imports away", "a helper", "a package's __init__"],
)
def test_counts(script, name, text):
    assert digest(script) != edit(script, name, text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("return n + 2", "return n - 2"),
        ("return n < 2", "return n <= 2"),
        ("return n and 2", "return n or 2"),
        ("return {2}", "return [2]"),
        ("n += 2", "n = 2"),
    ],
)
def test_what_differs_in_kind_only_counts(script, one, other):
    before = edit(script, "deep/beta.py", f"def two(n=1):\n    {one}\n")
    assert before != edit(script, "deep/beta.py", f"def two(n=1):\n    {other}\n")


@pytest.mark.parametrize(
    "text",
    [
        "import megaport.deep.beta\n",
        "def f():\n    from megaport.deep.beta import two\n",
        "from megaport.deep import beta\n",
    ],
    ids=["import", "inside a function", "from a package"],
)
def test_every_form_of_import_is_followed(script, text):
    script.write_text(text)
    code.forget()
    modules, _ = code.closure(script)
    assert "megaport.deep.beta" in modules


def test_third_party_packages_are_named(script):
    (script.parent / "megaport" / "alpha.py").write_text("import numpy.linalg\nimport os\n")
    code.forget()
    assert code.closure(script)[1] == {"numpy"}


@pytest.mark.parametrize(
    ("importer", "line"),
    [
        ("alpha.py", "from .deep import beta\n"),
        ("alpha.py", "from .deep.beta import two\n"),
        ("alpha.py", "from . import deep\nfrom .deep.beta import two\n"),
        ("deep/__init__.py", "from . import beta\n"),
        ("deep/gamma.py", "from ..deep.beta import two\n"),
    ],
)
def test_relative_imports_are_followed(script, importer, line):
    module = "megaport." + importer.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    script.write_text(f"import {module}\n")
    edit(script, "alpha.py", "")
    edit(script, importer, line)
    assert "megaport.deep.beta" in code.closure(script)[0]
    assert "megaport.unused" not in code.closure(script)[0]
