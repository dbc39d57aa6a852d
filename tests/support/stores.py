"""A small job with two outputs, and one action with one, for tests that harm them; and gc."""

from pathlib import Path

from megaport.cli import main
from megaport.store.actions import Action, Result
from megaport.store.code import Code
from megaport.store.content import Content
from megaport.store.job import Job
from megaport.store.store import Made, Store

ACTION = Action("convert", {"in": {"x": Content("a" * 64, 1)}}, {"p": 1}, "code", {"numpy": "2"})
OUTPUTS = {"a/one": b"one" * 5000, "two": b"two" * 10}


def job_in(folder: Path, store: Store | None = None, parameters=None) -> Job:
    script = folder / "step.py"
    if not script.exists():
        script.write_text("pass\n")
    source = Code(script, ("errors.py",))
    action = Action("build", {}, parameters or {}, source.digest(), {})
    receipt = folder / "results" / "m" / "build.json"
    return Job(action, receipt, store or Store(folder / "store"), source)


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


def build(store: Store, content: bytes = b"hello", key: str = ACTION.key) -> Result:
    with store.workspace() as folder:
        made = folder / "out.txt"
        made.write_bytes(content)
        return store.record(key, {"out.txt": made}, Made(facts={"n": 1}), {"wall_seconds": 1})


def rot(path: Path, content: bytes) -> None:
    """Other bytes in a blob, as a failing disk or a bold user would leave."""
    path.chmod(0o644)
    path.write_bytes(content)


def collect(store: Path, results: Path) -> int:
    """`gc` without any grace: whatever is not reached goes, however young. Its exit status."""
    return main(["store", "gc", str(store), str(results), "--delete", "--grace", "0"])
