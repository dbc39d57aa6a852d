"""Known results are put back before jobs are planned; what is not known loses its receipt.

Snakemake runs what is missing. So for every job that a target reaches, from the first step on, a
known action is published under its names; of an unknown or a forced one receipt and names are
removed, and Snakemake's own rule does the rest. A step whose result depends on software or hardware
looks in the cache where it runs: here its results are kept while they are still true.
"""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from megaport.fetch.trust import Trust
from megaport.plan import Plan, overview_of, reads_of
from megaport.steps import ROWS
from megaport.store.actions import Action, Receipt, ReceiptError, Result, read_receipt
from megaport.store.job import named_outputs, show
from megaport.store.names import clear, remove
from megaport.store.store import StoreError

NOTES = Path(".snakemake/locks")


class Restorer:
    """`place`: the receipt of a step for a model; `forced`: whether it must be computed anew;
    `look_anew`: called where files came or went; `frozen`: none does, it is only found out."""

    def __init__(
        self,
        plan: Plan,
        place: Callable[[str, str], Path],
        forced: Callable[[str, Path], bool],
        look_anew: Callable[[], None],
        *,
        frozen: bool = False,
    ) -> None:
        self.plan = plan
        self.frozen = frozen
        self.place = place
        self.forced = forced
        self.look_anew = look_anew
        self.settle = cache(self._settle)
        self.holds = cache(plan.store.blobs.holds)  # models may share content
        self.made: dict[tuple[str, str], int] = {}  # mtime of the receipts that are in place, ns

    def _settle(self, step: str, model: str) -> Receipt | None:
        """The true receipt of a step, in its place with all it names; None where a job must run."""
        reads = reads_of(step, model, self.plan.config)
        before = {key: self.settle(*earlier) for key, earlier in reads.items()}
        known = {key: receipt for key, receipt in before.items() if receipt}
        path = self.place(step, model)
        forced = self.forced(step, path)
        receipt = None
        if not forced and len(known) == len(before):
            action = self.plan.action(step, model, known)
            receipt = self._kept(action, path) or self._found(action, path, model)
        if self.frozen:
            return receipt
        if receipt is None:
            drop(ROWS[step].files, path, forced=forced)
            self.look_anew()
        else:
            newest = max((self.made[earlier] for earlier in reads.values()), default=0)
            self.made[step, model] = self._keep_order(receipt, path, newest)
        return receipt

    def _kept(self, action: Action, path: Path) -> Receipt | None:
        """The receipt that is there, where it and all that it names are true."""
        try:
            present = read_receipt(path)
        except ReceiptError:
            return None
        return present if _tells_of(action, present) and self._shown(present, path) else None

    def _found(self, action: Action, path: Path, model: str) -> Receipt | None:
        """What the store knows, put in its place; of software and hardware only the job knows."""
        if not ROWS[action.rule].moves_bytes:
            return None
        job = self.plan.job(action, model, path)
        result = job.lookup()
        if result is None or not self._accepted(action, model, result):
            return None
        if self.frozen:
            return Receipt(action, result.outputs, result.facts)
        with suppress(OSError):  # such as a full disk: the job then says so
            receipt = show(job, result, hit=True)
            self.look_anew()
            whose = model or "all models"
            told = f"cache hit, nothing computed (action {action.key[:12]}, {whose})"
            print(f"{action.rule}: {told}", file=sys.stderr)
            return receipt
        return None

    def _accepted(self, action: Action, model: str, result: Result) -> bool:
        """Whether a checkpoint is the one that is pinned or was trusted before: whatever is to be
        said of another, or of a first use, the job says."""
        if action.rule != "checksum":
            return True
        checkpoint = self.plan.config.models[model].checkpoint
        trust = Trust.of(self.plan.store.root, model, checkpoint.path, checkpoint.urls)
        return trust.settles(str(result.facts["content"]), checkpoint.sha256)

    def _shown(self, receipt: Receipt, path: Path) -> bool:
        """Whether blobs and names are what the receipt says: a stat a file where all is well."""
        stats, named = self.plan.store.stats, named_outputs(receipt.outputs)
        return all(map(self.holds, receipt.outputs.values())) and all(
            stats.shows(content, path.parent / name) for name, content in named.items()
        )

    def _keep_order(self, receipt: Receipt, path: Path, newest: int) -> int:
        """No name may be older than what it was made from, by mtime in ns: Snakemake would make it
        again. Returns the receipt's own."""
        made = [path, *(path.parent / name for name in named_outputs(receipt.outputs))]
        times = [os.lstat(name).st_mtime_ns for name in made]
        if min(times) >= newest:
            return times[0]
        for file in made:
            os.utime(file, ns=(newest, newest), follow_symlinks=False)
            known = receipt.outputs.get(file.relative_to(path.parent).as_posix())
            if known and not file.is_symlink():
                self.plan.store.stats.vouch(file, known.sha256)
        return newest


def drop(files: Iterable[str], receipt: Path, *, forced: bool) -> None:
    """Remove a receipt and all that its step may have named; a mark makes a forced job compute."""
    remove((receipt, *overview_of(receipt)))
    if receipt.parent.is_dir():
        clear(receipt.parent, files, set())
    if forced:
        mark = receipt.parent / "run" / f"{receipt.stem}.forced"
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def require_writable(folder: Path) -> None:
    """Raises StoreError where Snakemake cannot keep its notes in `folder`/.snakemake: it would end
    in a traceback."""
    notes = folder / ".snakemake"
    if not os.access(notes if notes.exists() else folder, os.W_OK):
        raise StoreError(
            f"working directory {folder}",
            seen="that it cannot be written to",
            expected="a folder for results/ and for Snakemake's notes",
            remedy="Run the command in such a folder, or name one with --directory.",
        )


def is_locked() -> bool:
    """Whether another Snakemake works in this folder, or died there: nothing may be taken away."""
    return NOTES.is_dir() and any(NOTES.iterdir())


def makes_one_of(names: Iterable[str], receipt: Path) -> bool:
    """Whether a file among `names` is one of those that the step with this receipt makes."""
    folder = receipt.parent
    paths = [Path(name) for name in names]
    below = [path.relative_to(folder) for path in paths if path.is_relative_to(folder)]
    files = (receipt.name, *ROWS[receipt.stem].files)
    return any(fnmatch(str(path), pattern) for path in below for pattern in files)


def _tells_of(action: Action, receipt: Receipt) -> bool:
    """Whether a receipt is of this action, as far as can be known here.

    A job may add parameters and versions that only its machine knows; these are not compared.
    """
    told = receipt.action
    return (
        told.code == action.code
        and told.inputs == action.inputs
        and {key: told.parameters.get(key) for key in action.parameters} == action.parameters
    )
