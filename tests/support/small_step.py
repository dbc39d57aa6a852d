"""A small step with two outputs, for tests that harm it."""

from pathlib import Path

from megaport.store.code import code_digest
from megaport.store.step import Step
from megaport.store.store import Store

OUTPUTS = {"a/one": b"one" * 5000, "two": b"two" * 10}


def step_in(folder: Path, store: Store | None = None, parameters=None) -> Step:
    script = folder / "step.py"
    if not script.exists():
        script.write_text("pass\n")
    return Step(
        rule="build",
        receipt=folder / "results" / "m" / "build.json",
        store=store or Store(folder / "store"),
        inputs={},
        parameters=parameters or {},
        script=script,
        code=code_digest(script),
        promised=tuple(OUTPUTS),
    )


def compute(job) -> None:
    for name, content in OUTPUTS.items():
        (job.work / name).parent.mkdir(exist_ok=True)
        (job.work / name).write_bytes(content)


def never(job) -> None:
    """For a step that must be a hit."""
    raise AssertionError("it was computed")


def state(folder: Path) -> dict[str, bytes]:
    results = folder / "results" / "m"
    names = [*OUTPUTS, "build.json"]
    return {name: (results / name).read_bytes() for name in names}
