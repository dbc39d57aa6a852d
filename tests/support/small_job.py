"""A small job with two outputs, for tests that harm it."""

from pathlib import Path

from megaport.store.code import Code
from megaport.store.job import Job
from megaport.store.store import Store

OUTPUTS = {"a/one": b"one" * 5000, "two": b"two" * 10}


def job_in(folder: Path, store: Store | None = None, parameters=None) -> Job:
    script = folder / "step.py"
    if not script.exists():
        script.write_text("pass\n")
    source = Code(script, ("errors.py",))
    return Job(
        step="build",
        receipt=folder / "results" / "m" / "build.json",
        store=store or Store(folder / "store"),
        inputs={},
        parameters=parameters or {},
        source=source,
        code=source.digest(),
    )


def compute(work) -> None:
    for name, content in OUTPUTS.items():
        (work.out / name).parent.mkdir(exist_ok=True)
        (work.out / name).write_bytes(content)


def never(work) -> None:
    """For a job that must be a hit."""
    raise AssertionError("it was computed")


def state(folder: Path) -> dict[str, bytes]:
    results = folder / "results" / "m"
    names = [*OUTPUTS, "build.json"]
    return {name: (results / name).read_bytes() for name in names}
