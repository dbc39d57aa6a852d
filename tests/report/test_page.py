"""The report: one page that holds everything, worst things first, and asks nobody for anything."""

import re
from html.parser import HTMLParser

import pytest

from megaport.report.page import render_page, share
from report.conftest import TEMPLATE


def render(*models) -> str:
    return render_page(models, TEMPLATE)


class Parsed(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_the_top_tells_verdict_sizes_place_lines_perplexity_and_speed(model):
    top = render(model()).partition("<h3>")[0]
    for told in ("passed", "3 passed, 0 failed, 0 not applicable", "qwen3", "3 groups", "50,257",
                 "1,234,567", "68.4", "1,234.5", "results/austen/model",
                 "AutoTokenizer.from_pretrained("):  # fmt: skip
        assert told in top, told


def test_the_rest_tells_texts_engines_decisions_digests_software_seed_and_date(model):
    page = render(model())
    for told in ("It is &lt;b&gt;so&lt;/b&gt;.", "seed 7", "killed by &lt;SIGSEGV&gt;", "50 %",
                 "12.5 ms", "&lt;config&gt;", "not stated", "ef" * 32, "ab" * 32, "torch 2.13.0",
                 "parity's seed is 11", "2026-11-27", "2.0 MiB"):  # fmt: skip
        assert told in page, told
    assert page.index("BEWARE") < page.index("&lt;config&gt;")


def test_a_parity_that_failed_comes_first_with_its_cause_and_its_check(model):
    page = render(model("good"), model("bad", difference=3.0))
    assert page.index('<article id="bad">') < page.index('<article id="good">')
    bad = page.partition('<article id="bad">')[2].partition("<article")[0]
    assert bad.index("failed") < bad.index("layers")
    assert "logits: layer 2 is wrong. Do not use it." in bad
    assert bad.index("✗ logits") < bad.index("✓ config")
    assert "width:100.0%" in bad


def test_several_models_are_a_table_with_links(model):
    page = render(model("good"), model("bad", difference=3.0), model("new", difference=None))
    rows = re.findall(r'<a href="#(\w+)">.*\n<td class="(.*?)">', page)
    assert rows == [("bad", "failed"), ("good", "passed"), ("new", "not compared")]
    assert "Nobody has compared this model" in page


@pytest.mark.parametrize(
    ("seen", "limit", "filled"),
    [(0.5, 2.0, 25.0), (3, 2.0, 100.0), (-1.0, 2.0, 0.0), (0, 0, 0.0), (1, 0, 100.0)],
)
def test_a_bar_is_as_long_as_the_share_of_the_limit(seen, limit, filled):
    assert share({"seen": seen, "limit": limit, "smaller_is_better": True}) == filled


@pytest.mark.parametrize("seen", ["inf", "nan"])
def test_what_is_no_number_has_no_bar(seen):
    assert share({"seen": seen, "limit": 1.0, "smaller_is_better": True}) is None


def test_asks_nobody_for_anything_and_is_the_same_every_time(model):
    page = render(model())
    parsed = Parsed(page)
    assert "svg" in parsed.tags and "script" not in parsed.tags
    assert [url for url in parsed.links if not re.match(r"data:|#", url)] == []
    assert page == render(model())
