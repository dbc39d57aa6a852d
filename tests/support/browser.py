"""A browser and axe-core's rules of accessibility, where they are installed."""

import shutil

from support.checkout import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = ROOT / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
WHY_NOT = (
    "browser: no chromium, or no build/axe (`make test-all` installs it with npm); "
    "tests/report/test_browser.py is not collected"
)


def can_judge_pages() -> bool:
    return bool(CHROMIUM) and AXE.exists()
