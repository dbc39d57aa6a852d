"""From Snakemake's object to one job of the library. Scripts import this module first."""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

WORKFLOW = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(WORKFLOW))

from megaport.errors import MegaportError  # noqa: E402
from megaport.parameters import PARITY_TEXT  # noqa: E402
from megaport.plan import action_of, file_contents, job_of, planned_by  # noqa: E402
from megaport.steps import find  # noqa: E402
from megaport.store.actions import Receipt, Result, read_receipt  # noqa: E402
from megaport.store.content import files_from_json  # noqa: E402
from megaport.store.job import Job, Work, run_job  # noqa: E402
from megaport.store.store import Store, StoreError, open_store  # noqa: E402

log = logging.getLogger("megaport")
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")  # libraries' bars would fill a log


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
    def step(self) -> str:
        """The rule as users know it; its receipt has its name."""
        return Path(self.snakemake.output.receipt).stem

    @cached_property
    def store(self) -> Store:
        return open_store(self.snakemake.config)

    @cached_property
    def receipts(self) -> dict[str, Receipt]:
        """What the job reads, by the name the table has for it: the step, or "model/step"."""
        paths = [Path(str(path)) for path in self.snakemake.input]
        several = self.step == "report"
        return {
            f"{path.parent.name}/{path.stem}" if several else path.stem: read_receipt(path)
            for path in paths
        }

    def find(self, path: str) -> Path:
        """A path of config.yaml: below the working directory, else beside the Snakefile."""
        return find(path, [Path.cwd(), WORKFLOW.parent])

    def checkpoint(self) -> Path:
        """Where the checkpoint's bytes lie, after making sure that they are still the same."""
        before = self.receipts.get("download") or self.receipts["checksum"]
        files = files_from_json(before.facts["files"])
        local = self.settings["checkpoint"]["path"]
        if local is None:
            return self.store.path_of(next(iter(files.values())))
        path = self.find(local)
        if files_from_json(file_contents(path, self.store.stats)) != files:
            raise changed(path)
        return path

    def open(self, work: Work) -> tuple[Any, Any]:
        """The checkpoint and what it is, as the job's parameters have it read."""
        from megaport.checkpoint.architecture import describe_architecture
        from megaport.checkpoint.open import open_checkpoint
        from megaport.decide import ArchitectureError

        given, named = work.parameters, self.settings["tokenizer"]
        path, overrides = self.checkpoint(), given["architecture"]
        checkpoint = open_checkpoint(path, version=given["version"], spool=work.scratch)
        try:
            return checkpoint, describe_architecture(checkpoint, overrides)
        except ArchitectureError as error:
            if named is None:
                raise
            from megaport.parity.heads import advised

            tokenizer = self.find("resources/gpt2" if named in ("gpt2", "auto") else named)
            text = self.find(PARITY_TEXT)
            raise advised(error, checkpoint, overrides, tokenizer, text) from None

    def job(self, extra: Mapping[str, Any]) -> Job:
        receipt = Path(str(self.snakemake.output.receipt))
        planned = planned_by(self.snakemake.params.fingerprint)
        action = action_of(self.step, self.receipts, planned, extra)
        return job_of(action, receipt, self.store, planned.way, WORKFLOW.parent)

    def promised(self) -> tuple[str, ...]:
        """The outputs that the rule declares, below the receipt's folder."""
        receipt = Path(str(self.snakemake.output.receipt))
        paths = (Path(str(path)) for path in self.snakemake.output)
        return tuple(
            path.relative_to(receipt.parent).as_posix() for path in paths if path != receipt
        )


def changed(path: Path) -> StoreError:
    return StoreError(
        f"checkpoint {path}",
        seen="bytes that changed while the workflow ran",
        expected="the digests it had when the run began",
        remedy="Run the same command again once nothing writes to the checkpoint.",
    )


def run(
    snakemake: Any,
    compute: Callable[[Work, Task], Any],
    *,
    extra: Mapping[str, Any] | None = None,
    accept: Callable[[Task, Result], None] = lambda task, result: None,
) -> Receipt:
    """Run a rule's one job; a user's mistake ends it with a message and exit status 1.

    `extra` adds parameters that only the machine the job runs on can know; `accept` may refuse a
    result, found or built.
    """
    task = Task(snakemake)
    with reporting(Path(str(snakemake.log)), snakemake.wildcards.get("model", "")):
        return run_job(
            task.job(extra or {}),
            partial(compute, task=task),
            promised=task.promised(),
            accept=partial(accept, task),
        )


class LogFile(logging.FileHandler):
    """A log on a full disk loses lines; what stderr says must not drown in tracebacks of that."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Nothing: the line is on stderr."""


@contextmanager
def reporting(log_file: Path, model: str = "") -> Iterator[None]:
    """Say things on stderr and in the rule's log; end a known failure without a traceback.

    The library knows no names of models: keys in its errors are those below `models.NAME`.
    """
    prefix = f"error: {model}: " if model else "error: "
    log.setLevel(logging.INFO)
    log.handlers = [logging.StreamHandler()]
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log.addHandler(LogFile(log_file, mode="w"))
        yield
    except MegaportError as error:
        log.error("%s%s", prefix, error)
        sys.exit(1)
    except OSError as error:
        log.error("%s%s", prefix, _disk_error(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)  # as shells say it: 128 and the number of SIGINT
    except Exception:
        log.error("%s", traceback.format_exc())
        sys.exit(1)


def _disk_error(error: OSError) -> MegaportError:
    return StoreError(
        str(error.filename or "a file of the store or of results/"),
        seen=error.strerror or repr(error),
        expected="a disk that can be read and written",
        remedy="Free some space or mend the permissions, then run the same command again: "
        "what is built already is kept.",
    )
