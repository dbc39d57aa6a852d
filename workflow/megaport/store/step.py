"""One step of the workflow: find its result by action key, or compute it, then name it."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from megaport.store.actions import Action, Result
from megaport.store.cost import Meter, write_cost
from megaport.store.errors import OutputError
from megaport.store.names import publish
from megaport.store.receipts import Files, Receipt
from megaport.store.software import versions
from megaport.store.store import Made, Store
from megaport.store.tidy import clear, sweep

FORCE_VARIABLE = "MEGAPORT_FORCE"  # rules that -F or -R asked for, "*" for all; see common.smk
STORE_ONLY = "@"  # outputs so marked live in the store and get no name under results/

log = logging.getLogger("megaport")


@dataclass(frozen=True)
class Job:
    """What a computation gets: where to write, where to put temporary files, what to read."""

    work: Path
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


Compute = Callable[[Job], Made | None]


@dataclass(frozen=True)
class Step:
    """A rule applied to one model: everything known before computing."""

    rule: str
    receipt: Path
    store: Store
    inputs: Mapping[str, Files]
    parameters: Mapping[str, Any]
    script: Path
    code: str
    packages: tuple[str, ...] = ()  # that the code imports
    promised: tuple[str, ...] = ()
    way: str = "symlink"
    clears: tuple[str, ...] = ()  # globs of names that no other rule makes, below the folder

    @property
    def folder(self) -> Path:
        return self.receipt.parent

    @cached_property
    def action(self) -> Action:
        software = versions(self.packages)
        return Action(self.rule, self.inputs, self.parameters, self.code, software)

    @property
    def forced(self) -> bool:
        return bool({self.rule, "*"} & set(os.environ.get(FORCE_VARIABLE, "").split(",")))


def run_step(
    step: Step, compute: Compute, accept: Callable[[Result], None] | None = None
) -> Receipt:
    """Make the step's outputs and its receipt true, computing only where the key is new.

    `accept` may refuse a result, found or built, before anything is named (by raising).
    """
    result, hit = _find(step), True
    if result is None:
        result, hit = _find_or_build(step, compute)
    if accept:
        accept(result)
    _name(step, result)
    write_cost(step.folder / "run" / f"{step.receipt.stem}.json", result.cost, hit=hit)
    receipt = Receipt.of(step.action, result)
    receipt.write(step.receipt)
    verb = "cache hit, nothing computed" if hit else "computed"
    log.info("%s: %s (action %s, %d files)", step.rule, verb, receipt.key[:12], len(result.outputs))
    return receipt


def _name(step: Step, result: Result) -> None:
    """Show the outputs under their names, and nothing else of the rule's."""
    named = {
        step.folder / name: content
        for name, content in result.outputs.items()
        if not name.startswith(STORE_ONLY)
    }
    sweep({step.receipt, *named})
    clear(step.folder, step.clears, set(named))
    for name, content in named.items():
        publish(step.store, content, name, step.way)


def _find(step: Step, *, far: bool = False) -> Result | None:
    look = step.store.fetch if far else step.store.lookup
    return None if step.forced else look(step.action.key)


def _find_or_build(step: Step, compute: Compute) -> tuple[Result, bool]:
    """The result, and whether it was there already."""
    with step.store.locked(step.action.key):
        # Somebody may have built it while this process waited for the lock.
        found = _find(step) or _find(step, far=True)
        if found:
            return found, True
        result = _compute(step, compute)
    step.store.send(step.action.key, result)
    return result, False


def _compute(step: Step, compute: Compute) -> Result:
    meter = Meter()
    with step.store.workspace() as folder:
        work, scratch = folder / "work", folder / "scratch"
        work.mkdir()
        scratch.mkdir()
        made = compute(Job(work, scratch, step.store, step.inputs, step.parameters)) or Made()
        files = {p.relative_to(work).as_posix(): p for p in work.rglob("*") if p.is_file()}
        _check_promises(step, files)
        _check_code(step)
        return step.store.record(step.action.key, files, made, meter.read())


def _check_promises(step: Step, files: Mapping[str, Path]) -> None:
    missing = sorted(set(step.promised) - set(files))
    if missing:
        raise OutputError(
            f"rule {step.rule}",
            seen=f"no {', '.join(missing)}",
            expected="every output the rule declares",
            remedy="This is a bug of the workflow: please report it with the log.",
        )


def _check_code(step: Step) -> None:
    """A result must not be filed under code that was edited while it was being computed."""
    from megaport.store.code import SOURCES, code_digest, forget  # not on a cache hit

    forget()
    SOURCES.remember_in(step.store.root / "code.json")
    if code_digest(step.script) != step.code:
        raise OutputError(
            f"rule {step.rule}",
            seen="that its code was edited while it ran",
            expected="the code the run started with",
            remedy="Run the same command again.",
        )
