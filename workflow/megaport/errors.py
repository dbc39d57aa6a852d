"""The one base of every error a user can meet; subclasses live beside the code that raises them."""

_LONGEST_LINE = 1000  # a path and a sentence have fewer characters


class MegaportError(Exception):
    """A named failure: the thing, what was seen, what was expected, what to do next.

    Scripts print it without a traceback; anything that is not a MegaportError is a bug of ours.
    Its text is printable, and no line of it longer than people read.
    """

    def __init__(self, thing: str, seen: object, expected: object, remedy: str) -> None:
        self.thing = thing
        self.seen = seen
        self.expected = expected
        self.remedy = remedy
        parts = (_lines(str(part)) for part in (thing, seen, expected))
        super().__init__("{}: found {}; expected {}. {}".format(*parts, printable(remedy)))


def printable(text: str) -> str:
    """The text with all that a terminal would obey, or could not encode, written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def encodable(text: str) -> str:
    """The text with escapes for what UTF-8 has no bytes for, such as names of files in Latin-1."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shown_text(value: object, limit: int = 80) -> str:
    """What came from a file, for people to see: one line of at most `limit` printable characters.

    Text is shown as it is, bytes and numbers as Python writes them, all else by its kind.
    """
    if isinstance(value, int):
        value = repr(value) if value.bit_length() < 200 else "a huge integer"
    elif isinstance(value, bytes | float):
        value = repr(value[:limit] if isinstance(value, bytes) else value)
    elif not isinstance(value, str):
        value = f"a {type(value).__name__}"
    return _cut(printable(value[: limit + 1]).replace("\n", "\\n"), limit)


def _lines(text: str) -> str:
    return "\n".join(shown_text(line, _LONGEST_LINE) for line in text.split("\n"))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
