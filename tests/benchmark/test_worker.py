"""Processes of the benchmark: whatever they do, there is an answer and a reason."""

import re
import sys
from typing import Any

import pytest

from megaport.benchmark import worker

ONE = "import json, sys; task = json.load(sys.stdin); print(json.dumps(task), flush=True); "


def _ask(
    monkeypatch: pytest.MonkeyPatch, program: str, patience_s: float = 60.0
) -> tuple[list[dict[str, Any]], str]:
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", program))
    return worker.ask({"task": 1}, patience_s)


def test_answers_come_one_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _ask(monkeypatch, ONE + "print('{}')") == ([{"task": 1}, {}], "")


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (
            "import ctypes; sys.stderr.write('CUDA error\\n'); ctypes.string_at(0)",
            r"the process ended by SIGSEGV; File .*ctypes.* in string_at; CUDA error",
        ),
        ("import os; os.kill(os.getpid(), 9)", r"SIGKILL \(the kernel's answer where memory runs"),
        ("raise MemoryError", "the process ended with 1: MemoryError"),
        ("sys.stdout.write('{half'); sys.exit(3)", "the process ended with 3: "),
    ],
)
def test_what_ends_a_process_is_said_after_its_answers(
    monkeypatch: pytest.MonkeyPatch, ending: str, reason: str
) -> None:
    answers, said = _ask(monkeypatch, ONE + ending)
    assert answers == [{"task": 1}]
    assert re.search(reason, said)


@pytest.mark.parametrize("how", ["", "sys.stdout.close(); "])
def test_a_process_that_says_nothing_is_killed(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    program = ONE + "import os, time; " + (how and "os.close(1); ") + "time.sleep(1000)"
    assert _ask(monkeypatch, program, 1.0) == ([{"task": 1}], "no answer for 1 s")
