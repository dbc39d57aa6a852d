"""A run's jobs, as the configuration tells them before any of them runs; no Snakemake in here."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megaport.checkpoint.files import source_files
from megaport.errors import MegaportError
from megaport.parameters import Given
from megaport.steps import REPORT, ROWS, SHOWN, STEPS, Step, find
from megaport.store.actions import Action, Receipt
from megaport.store.code import Code, versions
from megaport.store.content import Files, StatCache, canonical_json, sha256_file
from megaport.store.job import Job
from megaport.store.store import Store, open_store

if TYPE_CHECKING:  # jobs come without it: they take their parameters from the fingerprint
    from megaport.config.model import Config, Model

ANY_MODEL = "[A-Za-z0-9][A-Za-z0-9._-]*"  # as the configuration allows names


@dataclass(frozen=True)
class Planned:
    """What is known of a step for a model from the configuration alone."""

    parameters: Mapping[str, Any]
    code: str
    way: str


class Plan:
    """Built once a run. `root` is the folder of the Snakefile; `frozen`: the run writes nothing."""

    def __init__(self, config: "Config", root: Path, *, frozen: bool = False) -> None:
        self.config = config
        self.root = root
        self.store = open_store(config.plain(), frozen=frozen)
        self.folders = [Path.cwd(), root]
        self.planned = cache(self._planned)
        self.code = cache(lambda step: source_of(step, root).digest())
        self.digest = cache(self._digest)
        self.contents = cache(self._contents)

    def fingerprint(self, step: str, model: str) -> str:
        """What Snakemake compares and the job reads: parameters, code and the way files are named.

        Canonical JSON, not its digest: the job takes its parameters from it.
        """
        return canonical_json(vars(self.planned(step, model))).decode()

    def _planned(self, step: str, model: str) -> Planned:
        row = ROWS[step]
        given = Given(self.config, model, self.digest, self.contents)
        way = row.way or self.config.materialize
        return Planned(row.parameters(given), self.code(step), way)

    def action(self, step: str, model: str, before: Mapping[str, Receipt]) -> Action:
        """The action as the main process knows it: without the versions of packages."""
        return action_of(step, before, self.planned(step, model))

    def job(self, action: Action, model: str, receipt: Path) -> Job:
        way = self.planned(action.rule, model).way
        return job_of(action, receipt, self.store, way, self.root)

    def _digest(self, path: str) -> str | None:
        try:
            return sha256_file(find(path, self.folders))
        except OSError:
            return None

    def _contents(self, path: str) -> dict[str, Any] | None:
        """None where there is no readable checkpoint: the rule then says so, not the parser."""
        try:
            return file_contents(find(path, self.folders), self.store.stats)
        except (OSError, MegaportError):
            return None


def models_shaped(config: "Config", step: str, shape: str) -> str:
    """A regular expression of the models whose outputs of `step` have a shape: "", "_sharded"
    and, of model/, "_bare" and "_bare_sharded" (another tokenizer than GPT-2's,
    whose files no name tells, or none).

    Names that nobody configured have the first one, so that its input function can say so.
    """
    shapes = {name: _shape(model, step) for name, model in config.models.items()}
    if shape:
        return _alternatives(name for name in shapes if shapes[name] == shape)
    others = [name for name in shapes if shapes[name]]
    return f"(?!(?:{_alternatives(others)})(?:/|$)){ANY_MODEL}" if others else ANY_MODEL


def action_of(
    step: str,
    before: Mapping[str, Receipt],
    planned: Planned,
    extra: Mapping[str, Any] | None = None,
) -> Action:
    """What a step's outputs depend on, from what is planned and the receipts it reads.

    `extra`: parameters that only the machine knows; with them come the versions of packages.
    """
    row = ROWS[step]
    parameters = {**planned.parameters, **(extra or {})}
    software = {} if extra is None else versions(row.software)
    return Action(step, inputs_of(row, before), parameters, planned.code, software)


def job_of(action: Action, receipt: Path, store: Store, way: str, root: Path) -> Job:
    source, files = source_of(action.rule, root), ROWS[action.rule].files
    return Job(action, receipt, store, source, files, way, partial(overview_of, receipt))


def planned_by(fingerprint: str) -> Planned:
    """What `Plan.fingerprint` spelt."""
    return Planned(**json.loads(fingerprint))


def overview_of(receipt: Path) -> tuple[Path, ...]:
    """The files of the report that shows a step's results: they go when these change."""
    page = receipt.parent.with_name(f"{REPORT.name}.json")
    shown = receipt.stem in SHOWN and _is_on(page, receipt.parent.name)
    return (page, page.with_suffix(".html")) if shown else ()


def _is_on(page: Path, model: str) -> bool:
    """Whether a page shows a model; one without a receipt may show any."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return model in _models_on(page, page.stat().st_mtime_ns)
    return True


@cache
def _models_on(page: Path, changed: int) -> frozenset[str]:
    """Read once for all the steps of a run: the receipt of a page of thousands has megabytes."""
    return frozenset(json.loads(page.read_bytes())["parameters"]["models"])


def source_of(step: str, root: Path) -> Code:
    return Code(root / "workflow" / "scripts" / f"{step}.py", ROWS[step].code)


def inputs_of(row: Step, before: Mapping[str, Receipt]) -> dict[str, Files]:
    """What the result depends on, by role: the step that made it, for the report "model/step"."""
    if row is REPORT:
        shown = {place: receipt.outputs for place, receipt in before.items()}
        return shown | {f"{place}.json": {"": before[place].content} for place in before}
    return {earlier: part(before[earlier]) for earlier, part in row.reads.items()}


def reads_of(step: str, model: str, config: "Config") -> dict[str, tuple[str, str]]:
    """The (step, model) whose receipts a step reads, by the key that `inputs_of` knows them by."""
    if step == REPORT.name:
        return {f"{name}/{earlier}": (earlier, name) for name in config.names for earlier in SHOWN}
    return {earlier: (earlier, model) for earlier in STEPS[step].reads}


def file_contents(path: Path, stats: StatCache) -> dict[str, dict[str, Any]]:
    """Name -> sha256 and size of the files of a checkpoint, hashed only where stat changed.

    Raises MegaportError where `path` holds no checkpoint, OSError where it cannot be read.
    """
    return {
        name: {"sha256": stats.digest(file), "size": file.stat().st_size}
        for name, file in sorted(source_files(path).items())
    }


def _shape(model: "Model", step: str) -> str:
    bare = "" if model.tokenizer == "gpt2" or step != "assemble" else "_bare"
    return bare + ("_sharded" if model.max_shard_size else "")


def _alternatives(names: Iterable[str]) -> str:
    """Of no names, one that matches nothing."""
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)"
