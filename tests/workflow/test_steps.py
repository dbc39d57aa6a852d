"""The table of rules: what it says and what workflow/rules/ declares are one DAG, and its `code`
covers all that a script reaches."""

import json
import re
from pathlib import Path

import pytest

from megaport.steps import BUILT, REPORT, SHOWN, STEPS, content_mb
from support.checkout import ROOT
from support.imports import WORKFLOW, files_of, imports

SHOWING = {"inspect": "show_inspection"}  # the target that shows what its steps found
RULE_FILES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
SNAKEFILE = (ROOT / "Snakefile").read_text()
LIBRARY = WORKFLOW / "megaport"
ROWS = [*STEPS.values(), REPORT]
# They decide when and where to compute, or say what happened: no byte of a result comes from them.
UNCOUNTED = (
    "store/",
    "config/",
    "fetch/",
    "parameters.py",
    "steps.py",
    "plan.py",
    "restore.py",
    "errors.py",
)


def rules():
    for path in [*RULE_FILES, ROOT / "Snakefile"]:
        for block in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            yield block.partition(":")[0], block


@pytest.mark.parametrize(("name", "block"), list(rules()), ids=[name for name, _ in rules()])
def test_has_a_docstring_and_what_runs_has_a_log_and_an_environment(name, block):
    assert block.split("\n")[1].strip().startswith('"""')
    assert not re.search(r"^ +(run|shell):", block, re.MULTILINE)
    if "script:" in block:
        assert re.search(r"^ +log:", block, re.MULTILINE)
        assert re.search(r"^ +conda:", block, re.MULTILINE)
        script = SHOWING.get(name, name.removesuffix("_model"))
        assert f"../scripts/{script}.py" in block


@pytest.mark.parametrize("step", STEPS)
def test_every_step_is_a_target_and_a_worker_where_its_name_says(step):
    block = dict(rules())
    assert f'every("{step}")' in block[step]
    assert f'before("{step}")' in block[f"{step}_model"]
    assert f'fingerprint("{step}")' in block[f"{step}_model"]
    assert f'include: "workflow/rules/{step}.smk"' in SNAKEFILE


@pytest.mark.parametrize("step", STEPS)
def test_only_steps_that_move_bytes_are_grouped(step):
    grouped = "prepare" in dict(rules())[f"{step}_model"]
    assert grouped == (STEPS[step].moves_bytes and step not in ("download", "export"))


def test_steps_stand_after_what_they_read():
    order = list(STEPS)
    for step in STEPS.values():
        assert all(order.index(earlier) < order.index(step.name) for earlier in step.reads)
    assert set(SHOWN) <= set(BUILT) == set(STEPS) - {"export"}


def reached(path: Path, seen: set[str]) -> set[str]:
    """The library's files that a file imports, however deep, but for what does not count."""
    for name in imports(path):
        for file in files_of(name):
            relative = file.relative_to(LIBRARY).as_posix()
            if relative not in seen and not relative.startswith(UNCOUNTED):
                seen.add(relative)
                reached(file, seen)
    return seen


@pytest.mark.parametrize("row", [row for row in ROWS if row.code], ids=lambda row: row.name)
def test_code_covers_all_that_the_script_reaches(row):
    own = reached(ROOT / "workflow" / "scripts" / f"{row.name}.py", set())
    uncovered = {file for file in own if not file.startswith(tuple(row.code))}
    assert {file for file in uncovered if not file.endswith("__init__.py")} == set()
    assert all((LIBRARY / place).exists() for place in row.code)


@pytest.mark.parametrize("step", ["convert", "generate", "parity"])
def test_needs_grow_with_the_checkpoint_and_with_every_try(tmp_path, step):
    for name, size in (("small", 10_000_000), ("large", 5_000_000_000)):
        told = {"outputs": {"a": {"size": size // 2}, "b": {"size": size // 2}}, "facts": {}}
        (tmp_path / name).write_text(json.dumps(told))
    small, large = [tmp_path / "small"], [tmp_path / "large"]
    assert content_mb([*small, *large]) == 5000
    for ask in (STEPS[step].need.memory, STEPS[step].need.minutes):
        assert ask(small, 1) < ask(large, 1) and ask(small, 2) == 2 * ask(small, 1)


def test_a_receipt_to_come_is_asked_for_later(tmp_path):
    with pytest.raises(FileNotFoundError):
        STEPS["convert"].need.memory([tmp_path / "later.json"], 1)
