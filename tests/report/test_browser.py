"""The page in Chromium: wide and narrow, light and dark; axe-core has nothing to say."""

import html
import json
import re
import subprocess

import pytest

from megaport.report.page import render_page
from report.conftest import TEMPLATE
from support.places import AXE, CHROMIUM

FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-sync "
    "--disable-background-networking --virtual-time-budget=20000 --dump-dom"
)
JUDGE = """
document.querySelectorAll("details").forEach(part => part.open = true);
axe.run().then(found => document.title = JSON.stringify({
  rules: found.passes.length,
  violations: found.violations.map(v => [v.id, v.nodes.map(n => n.html)]),
  wider: document.documentElement.scrollWidth - innerWidth,
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
}));
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_nobody_is_kept_out(model, tmp_path, width, dark):
    page = render_page([model(), model("bad", 3.0), model("new", None)], TEMPLATE)
    scripts = f"<script>{AXE.read_text()}</script><script>{JUDGE}</script></body>"
    (tmp_path / "page.html").write_text(page.replace("</body>", scripts))
    colours = ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [CHROMIUM, *FLAGS.split(), *colours, f"--window-size={width},900",
         f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()],
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    told = json.loads(html.unescape(re.search("<title>({.*})</title>", done.stdout)[1]))
    assert told["violations"] == [] and told["rules"] > 15
    assert told["wider"] <= 0 and told["dark"] is dark
