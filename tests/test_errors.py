"""What comes from a file reaches people escaped and cut."""

import pytest

from megaport.errors import MegaportError, shown_text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("layers.0.weight", "layers.0.weight"),
        ("caf\u00e9", "caf\u00e9"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\udcff", r"\udcff"),
        ("\u202eabc", r"\u202eabc"),
        (b"\xff\x00", r"b'\xff\x00'"),
        (1.5, "1.5"),
        (7, "7"),
        (1 << 5000, "a huge integer"),
        ([1], "a list"),
        (None, "a NoneType"),
    ],
    ids=repr,
)
def test_a_value_is_shown_as_one_printable_line(value: object, shown: str) -> None:
    assert shown_text(value) == shown


@pytest.mark.parametrize("text", ["x" * 100, "\x1b" * 100, "\u00e9" * 100])
def test_long_text_is_cut(text: str) -> None:
    assert len(shown_text(text, 20)) == 20
    assert shown_text(text, 20).endswith("\u2026")


def test_an_error_shows_nothing_a_terminal_obeys() -> None:
    error = MegaportError("a\x1b[2J", seen="b\x07\nc", expected="\udcff", remedy="Do it.")
    assert str(error) == "a\\x1b[2J: found b\\x07\nc; expected \\udcff. Do it."
    str(error).encode("utf-8")
