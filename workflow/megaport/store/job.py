"""One step for one model: find its result by action key, or compute it, then name it."""

import json
import logging
import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megaport.errors import MegaportError
from megaport.store.actions import Action, Receipt, Result
from megaport.store.code import Code
from megaport.store.content import Files
from megaport.store.names import clear, publish, remove, sweep
from megaport.store.store import Made, Store

STORE_ONLY = "@"  # outputs so marked live in the store and get no name under results/

log = logging.getLogger("megaport")


class OutputError(MegaportError):
    """A step did not write what it promised, or the code changed under it."""


@dataclass(frozen=True)
class Work:
    """What a computation gets: where to write, where to put temporary files, what to read."""

    out: Path
    scratch: Path
    store: Store
    inputs: Mapping[str, Files]
    parameters: Mapping[str, Any]

    def blob(self, role: str, name: str) -> Path:
        """The verified bytes of one input file."""
        return self.store.path_of(self.inputs[role][name])

    def folder(self, role: str, prefix: str = "") -> Path:
        """A folder that shows the verified inputs of a role whose names start with `prefix`/."""
        top = self.scratch / role
        for name, content in self.inputs[role].items():
            if name.startswith(prefix):
                link = top / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.store.path_of(content))
        return top / prefix


Compute = Callable[[Work], Made | None]


@dataclass(frozen=True)
class Job:
    """Everything that is known before computing. `source`: what `action.code` is the digest of;
    `files`: globs of the names it may show; `overview` gives files of another step that show what
    these say, and go when it changes."""

    action: Action
    receipt: Path
    store: Store
    source: Code
    files: tuple[str, ...] = ()
    way: str = "symlink"
    overview: Callable[[], Iterable[Path]] = tuple

    @property
    def step(self) -> str:
        return self.action.rule

    @property
    def folder(self) -> Path:
        return self.receipt.parent

    @property
    def mark(self) -> Path:
        """There while somebody who asked for the work to be done again waits for it."""
        return self.folder / "run" / f"{self.step}.forced"

    def lookup(self) -> Result | None:
        """The result where the store holds all of it and nobody asked to compute it again."""
        return None if self.mark.exists() else self.store.lookup(self.action.key)


def run_job(
    job: Job,
    compute: Compute,
    *,
    promised: tuple[str, ...] = (),
    accept: Callable[[Result], None] = lambda result: None,
) -> Receipt:
    """Make the outputs and the receipt true, computing only where the key is new.

    `promised`: names that must be among the outputs, or nothing is filed: a result that is known
    gets no job, and so Snakemake would not miss a file again. `accept` may refuse a result, found
    or built, before anything is named (by raising).
    """
    result, hit = job.lookup(), True
    if result is None:
        result, hit = _find_or_build(job, compute, promised)
    accept(result)
    receipt = show(job, result, hit=hit)
    log.info("%s: %s", job.step, _told(receipt, result, hit=hit))
    return receipt


def _told(receipt: Receipt, result: Result, *, hit: bool) -> str:
    verb = (
        "cache hit, nothing computed" if hit else f"computed in {result.cost['wall_seconds']:.1f} s"
    )
    return f"{verb} (action {receipt.action.key[:12]}, {len(result.outputs)} files)"


def show(job: Job, result: Result, *, hit: bool) -> Receipt:
    """Show a result under its names, and nothing else of the step's; the receipt comes last."""
    named = {job.folder / name: content for name, content in named_outputs(result.outputs).items()}
    sweep({job.receipt, *named})
    clear(job.folder, job.files, set(named))
    for path, content in named.items():
        publish(job.store, content, path, job.way)
    write_cost(job.folder / "run" / f"{job.step}.json", result.cost, hit=hit)
    receipt = Receipt(job.action, result.outputs, result.facts)
    if not job.receipt.exists() or job.receipt.read_bytes() != receipt.text:
        remove(job.overview())
    receipt.write(job.receipt)
    job.mark.unlink(missing_ok=True)
    return receipt


def cost_since(started: float, clock: float) -> dict[str, Any]:
    """What building took here, an observation: wall seconds since time.time() was `started` and
    time.perf_counter() `clock`, peak resident bytes of this process (getrusage), when and where."""
    return {
        "wall_seconds": round(time.perf_counter() - clock, 4),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "host": os.uname().nodename,
    }


def write_cost(path: Path, cost: Mapping[str, Any], *, hit: bool) -> None:
    """Say under run/ what the build cost, and whether this run built it or found it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"built": dict(cost), "this_run": "cache hit" if hit else "computed"}
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def named_outputs(outputs: Files) -> Files:
    """The outputs that have a name under results/."""
    return {name: content for name, content in outputs.items() if not name.startswith(STORE_ONLY)}


def _find_or_build(job: Job, compute: Compute, promised: tuple[str, ...]) -> tuple[Result, bool]:
    """The result, and whether it was there already."""
    with job.store.locked(job.action.key):
        # Somebody may have built it while this process waited for the lock.
        found = job.lookup() or (None if job.mark.exists() else job.store.fetch(job.action.key))
        if found:
            return found, True
        result = _compute(job, compute, promised)
    job.store.send(job.action.key, result)
    return result, False


def _compute(job: Job, compute: Compute, promised: tuple[str, ...]) -> Result:
    log.info("%s: %s", job.step, job.folder.name)
    began = time.time(), time.perf_counter()
    with job.store.workspace() as folder:
        out, scratch = folder / "out", folder / "scratch"
        out.mkdir()
        scratch.mkdir()
        given = Work(out, scratch, job.store, job.action.inputs, job.action.parameters)
        made = compute(given) or Made()
        files = {p.relative_to(out).as_posix(): p for p in out.rglob("*") if p.is_file()}
        _check_promises(job, promised, files)
        _check_code(job)
        return job.store.record(job.action.key, files, made, cost_since(*began))


def _check_promises(job: Job, promised: tuple[str, ...], files: Mapping[str, Path]) -> None:
    missing = [name for name in promised if not _holds(files, name)]
    if missing:
        raise OutputError(
            f"rule {job.step}",
            seen=f"no {', '.join(missing)}",
            expected="every output the rule declares",
            remedy="This is a bug of the workflow: please report it with the log.",
        )


def _holds(files: Iterable[str], name: str) -> bool:
    """Whether a file, or one below a folder of that name, is there."""
    return any(file == name or file.startswith(f"{name}/") for file in files)


def _check_code(job: Job) -> None:
    """A result must not be filed under code that was edited while it was being computed."""
    if job.source.digest() != job.action.code:
        raise OutputError(
            f"rule {job.step}",
            seen="that its code was edited while it ran",
            expected="the code the run started with",
            remedy="Run the same command again.",
        )
