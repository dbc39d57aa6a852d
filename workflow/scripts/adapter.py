"""From Snakemake's object to one step of the library. Scripts import this module first."""

import atexit
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

WORKFLOW = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(WORKFLOW))

from megaport.errors import MegaportError  # noqa: E402
from megaport.plan.local import file_contents, find  # noqa: E402
from megaport.store.actions import Result  # noqa: E402
from megaport.store.blobs import Content  # noqa: E402
from megaport.store.errors import StoreError  # noqa: E402
from megaport.store.layers import open_store  # noqa: E402
from megaport.store.receipts import Files, Receipt, read_receipt  # noqa: E402
from megaport.store.step import Compute, Step, run_step  # noqa: E402
from megaport.store.store import Store  # noqa: E402

log = logging.getLogger("megaport")
ended_well: list[Receipt] = []
NOT_LOADED = ("model/README.md", "model/SHA256SUMS")


@dataclass(frozen=True)
class Task:
    """One Snakemake job, seen from the library."""

    snakemake: Any

    @property
    def model(self) -> str:
        return str(self.snakemake.wildcards.model)

    @property
    def settings(self) -> dict[str, Any]:
        """What config.yaml says of this model, defaults filled in."""
        return dict(self.snakemake.config["models"][self.model])

    @property
    def rule(self) -> str:
        """The rule as users know it; its receipt has its name."""
        return Path(self.snakemake.output.receipt).stem

    @cached_property
    def store(self) -> Store:
        return open_store(self.snakemake.config)

    def receipt(self, role: str) -> Receipt:
        return read_receipt(Path(self.snakemake.input[role]))

    def find(self, path: str) -> Path:
        """A path of config.yaml: below the working directory, else beside the Snakefile."""
        return find(path, [Path.cwd(), WORKFLOW.parent])

    def outputs(self, role: str, *prefixes: str) -> Files:
        """The files an earlier rule made whose names start with one of `prefixes` (all if none)."""
        made = self.receipt(role).outputs
        return {n: made[n] for n in made if not prefixes or n.startswith(prefixes)}

    def model_files(self) -> Files:
        """What tools load of model/: not its card and digests, whose words change no result."""
        made = self.outputs("assemble", "model/")
        return {name: made[name] for name in made if name not in NOT_LOADED}

    def members(self) -> Files:
        """The checkpoint's members by content, as the checksum rule found them."""
        return contents(self.receipt("checksum").facts["members"])

    def checkpoint(self, files: Mapping[str, Any]) -> Path:
        """Where the checkpoint's bytes lie, after making sure that they are still the same."""
        local = self.settings["checkpoint"]["path"]
        if local is None:
            return self.store.path_of(next(iter(contents(files).values())))
        path = self.find(local)
        _require_unchanged(self.store, path, contents(files))
        return path


def contents(files: Mapping[str, Any]) -> dict[str, Content]:
    return {name: Content.from_json(item) for name, item in files.items()}


def _require_unchanged(store: Store, path: Path, files: Files) -> None:
    if contents(file_contents(path, store.stats)) != files:
        raise changed(path, "the digests in the receipt of `checksum`")


def changed(path: Path, expected: str) -> StoreError:
    return StoreError(
        f"checkpoint {path}",
        seen="bytes that changed while the workflow ran",
        expected=expected,
        remedy="Run the same command again once nothing writes to the checkpoint.",
    )


def run(
    snakemake: Any,
    compute: Compute,
    inputs: Callable[[Task], Mapping[str, Files]],
    *,
    extra: Mapping[str, Any] | None = None,
    accept: Callable[[Task, Result], None] | None = None,
    clears: tuple[str, ...] = (),
) -> Receipt:
    """Run a rule's one step; a user's mistake ends it with a message and exit status 1.

    `inputs` names the contents the result depends on, by role; `extra` adds parameters that only
    the machine the job runs on can know; `clears` are globs of outputs that not every configuration
    makes.
    """
    task = Task(snakemake)
    with reporting(Path(str(snakemake.log))):
        step = _step(task, inputs(task), extra or {}, clears)
        receipt = run_step(step, compute, accept and (lambda result: accept(task, result)))
    ended_well.append(receipt)
    return receipt


@atexit.register
def leave() -> None:
    """End at once: to take down Snakemake's modules one by one costs a hit a sixth of its time.

    Registered before anything a computation imports, so what those clean up they have by now.
    """
    failed_since = hasattr(sys, "last_value")
    if ended_well and not failed_since:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


def _step(
    task: Task, inputs: Mapping[str, Files], extra: Mapping[str, Any], clears: tuple[str, ...]
) -> Step:
    fingerprint = json.loads(task.snakemake.params.fingerprint)
    receipt = Path(task.snakemake.output.receipt)
    outputs = (Path(str(path)) for path in task.snakemake.output)
    promised = tuple(
        path.relative_to(receipt.parent).as_posix() for path in outputs if path != receipt
    )
    return Step(
        rule=task.rule,
        receipt=receipt,
        store=task.store,
        inputs=inputs,
        parameters=fingerprint["parameters"] | extra,
        script=WORKFLOW / "scripts" / f"{task.rule}.py",
        code=fingerprint["code"],
        packages=tuple(fingerprint["packages"]),
        promised=promised,
        way=fingerprint["way"],
        clears=clears,
    )


class LogFile(logging.FileHandler):
    """A log on a full disk loses lines; what stderr says must not drown in tracebacks of that."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Nothing: the line is on stderr."""


@contextmanager
def reporting(log_file: Path) -> Iterator[None]:
    """Say things on stderr and in the rule's log; end a known failure without a traceback."""
    log.setLevel(logging.INFO)
    log.handlers = [logging.StreamHandler()]
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log.addHandler(LogFile(log_file, mode="w"))
        yield
    except MegaportError as error:
        log.error("error: %s", error)
        sys.exit(1)
    except OSError as error:
        log.error("error: %s", _disk_error(error))
        sys.exit(1)
    except Exception:
        log.error("%s", traceback.format_exc())
        sys.exit(1)


def _disk_error(error: OSError) -> MegaportError:
    return StoreError(
        str(error.filename or "a file"),
        seen=error.strerror or repr(error),
        expected="a disk that can be read and written",
        remedy="Free some space or mend the permissions, then run the same command again: "
        "what is built already is kept.",
    )
