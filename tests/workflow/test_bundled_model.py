"""The bundled model reads text that it was not trained on as well as its page says."""

import os

import pytest

from support.checkout import MODEL, ROOT

PAGE = ROOT / "docs" / "maintainers" / "austen-tiny.md"
NOVELS = ROOT.parent / "shared" / "data" / "austen.txt"


def novels():
    """The text, which is not the project's; with CI set it must be there."""
    return [NOVELS] if NOVELS.exists() or os.environ.get("CI") else []


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute on an idle machine
@pytest.mark.parametrize("text", novels())
def test_perplexity_of_held_out_text_is_what_the_page_says(text, pristine, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "resources" / "austen-tiny")
    from train import encode, perplexity

    _, held_out, seen = encode(text)
    found = perplexity(pristine / MODEL / "model", held_out, seen)
    assert f"| held-out perplexity, FP16 weights | {found:.2f} a token" in PAGE.read_text()
