"""How a script's process ends: at once where it went well, and as Python does where it did not."""

import subprocess
import sys

import pytest

from support.checkout import ENVIRONMENT, ROOT

SCRIPTS = ROOT / "workflow" / "scripts"
START = f"import sys; sys.path.append({str(SCRIPTS)!r}); import adapter, atexit, threading, time\n"
WELL = "adapter.ended_well.append(None)\n"
LATE = "atexit.register(print, 'cleaned up', end='')\n"
WORKS_ON = "threading.Thread(target=lambda: (time.sleep(0.2), print('written', end=''))).start()\n"


@pytest.mark.parametrize(
    ("script", "status", "printed"),
    [
        (WELL + "print('said', end='')", 0, "said"),
        (LATE + WELL, 0, "cleaned up"),
        (WORKS_ON + WELL, 0, "written"),
        (WELL + "raise RuntimeError('later')", 1, ""),
        ("sys.exit(1)", 1, ""),
        ("raise RuntimeError('sooner')", 1, ""),
    ],
    ids=["said", "what a computation cleans up", "a thread", "fails after", "refused", "fails"],
)
def test_ends_with_all_that_was_begun_and_the_right_status(script, status, printed):
    command = [sys.executable, "-c", START + script]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stdout) == (status, printed)
    assert ("Traceback" in done.stderr) == ("raise" in script)
