"""The one base of every error a user can meet; subclasses live beside the code that raises them."""


class MegaportError(Exception):
    """A named failure: the thing, what was seen, what was expected, what to do next.

    Scripts print it without a traceback; anything that is not a MegaportError is a bug of ours.
    """

    def __init__(self, thing: str, *, seen: object, expected: object, remedy: str) -> None:
        self.thing = thing
        self.seen = seen
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"{thing}: found {seen}; expected {expected}. {remedy}")
