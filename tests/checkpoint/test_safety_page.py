"""docs/safety.md names tests that exist."""

import re

from support.oracles import ROOT


def test_every_test_that_the_safety_page_names_exists() -> None:
    page = (ROOT / "docs" / "safety.md").read_text()
    files = sorted((ROOT / "tests" / "checkpoint").glob("test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)", "\n".join(f.read_text() for f in files), re.M))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 40
    assert named <= defined
