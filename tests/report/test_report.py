"""The report: one page that holds everything and asks nobody for anything."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from megaport.report.model import gather
from megaport.report.page import render_page
from support.checkout import ROOT

TEMPLATE = ROOT / "workflow" / "report" / "page.html.j2"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"/>'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def facts(tmp_path):
    """The facts of one small model, as its rules would have written them."""
    content = {
        "model/SHA256SUMS": "ab" * 32 + "  config.json\n",
        "inspection/inspection.json": json.dumps(
            {
                "checkpoint": {"family": "legacy_ranks", "iteration": None},
                "parameters": 1234567,
                "decisions": [
                    {"subject": "n_head", "value": 4, "reason": "<config>", "override": "n_head"}
                ],
            }
        ),
        "parity/parity.json": json.dumps(
            {
                "verdict": "failed",
                "checks": [{"name": "logits", "question": "Same?", "verdict": "failed"}],
            }
        ),
        "parity/layers.svg": SVG,
        "generations.jsonl": json.dumps({"prompt": None, "text": "It is <b>so</b>."}) + "\n",
    }
    files = {}
    for name, text in content.items():
        files[name] = tmp_path / name
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_text(text)
    (tmp_path / "run").mkdir()
    cost = {"wall_seconds": 1.5, "peak_rss_bytes": 2**21, "host": "here"}
    (tmp_path / "run" / "convert.json").write_text(json.dumps({"built": cost}))
    checksum = {"content": "cd" * 32, "members": {"checkpoint": {"sha256": "ef" * 32}}}
    return gather("austen", files, checksum, tmp_path / "run")


class References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [value for name, value in attrs if name in ("src", "href")]


def test_holds_what_was_found_and_escapes_it(facts):
    page = render_page([facts], TEMPLATE)
    for shown in ("cd" * 32, "ef" * 32, "ab" * 32, "1,234,567", "not stated", "2.0 MiB", "failed"):
        assert shown in page
    assert "It is &lt;b&gt;so&lt;/b&gt;." in page and "&lt;config&gt;" in page


def test_asks_nobody_for_anything(facts):
    parsed = References()
    parsed.feed(render_page([facts], TEMPLATE))
    assert "script" not in parsed.tags
    assert [url for url in parsed.found if not re.match(r"data:|#", url)] == []


def test_same_facts_give_the_same_bytes(facts):
    assert render_page([facts], TEMPLATE) == render_page([facts], TEMPLATE)


if CHROMIUM:

    def test_opens_offline_in_a_browser_with_its_pictures(facts, tmp_path):
        page = tmp_path / "report.html"
        page.write_text(
            render_page([facts], TEMPLATE).replace(
                "</body>",
                "<script>document.title = [...document.images]"
                ".map(i => `${i.complete}:${i.naturalWidth}`).join()</script></body>",
            )
        )
        flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-sync"
        done = subprocess.run(
            [CHROMIUM, *flags.split(), "--disable-background-networking", "--enable-logging=stderr",
             f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom",
             page.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert "<title>true:40</title>" in done.stdout
        assert "CONSOLE" not in done.stderr
