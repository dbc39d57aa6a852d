"""Bring a checkpoint's bytes here, or note where a local one lies."""

import shutil
import sys
from pathlib import Path

from adapter import Task, changed, log, run
from megaport.plan import file_contents
from megaport.store.content import sha256_file
from megaport.store.job import Work
from megaport.store.store import Made


def compute(work: Work, task: Task) -> Made:
    path = task.settings["checkpoint"]["path"]
    if path is None:
        return fetch(work, task)
    # The same digests again: this time what is wrong with the checkpoint is said.
    if file_contents(task.find(path), task.store.stats) != work.parameters["files"]:
        raise changed(task.find(path))
    return Made(facts={"files": work.parameters["files"]})


def fetch(work: Work, task: Task) -> Made:
    from megaport.fetch.download import download
    from megaport.fetch.progress import progress_on
    from megaport.fetch.response import Limits

    found = download(
        task.settings["checkpoint"]["urls"],
        task.store.root / "partial",
        limits=Limits(**task.snakemake.config["download"]),
        check=lambda path: check(task, path, work.scratch),
        progress=progress_on(sys.stderr, log.info),
    )
    target = work.out / "@checkpoint"
    if isinstance(found, Path):
        shutil.copyfile(found, target)
        digest = sha256_file(target)
    else:
        found.move(target)
        digest = found.sha256
    files = {"checkpoint": {"sha256": digest, "size": target.stat().st_size}}
    return Made(digests={"@checkpoint": digest}, facts={"files": files})


def check(task: Task, path: Path, spool: Path) -> None:
    """Refuse what is no checkpoint, or not the pinned one: the next source is tried then."""
    from megaport.checkpoint.files import digest_files
    from megaport.checkpoint.selection import NoCheckpointError
    from megaport.fetch.trust import check_pin, content_digest

    if path.is_dir():
        raise NoCheckpointError(
            str(path),
            seen="a folder",
            expected="a file, as every source gives one",
            remedy="Set `checkpoint: {path: FOLDER}`: it is read where it lies.",
        )
    digests = {name: sha256 for name, (sha256, _) in digest_files(path, spool=spool).items()}
    if pinned := task.settings["checkpoint"]["sha256"]:
        check_pin(content_digest(digests), pinned, f"models.{task.model}.checkpoint.sha256")


run(snakemake, compute)
