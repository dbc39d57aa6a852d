"""Digest the members of a checkpoint; enforce what is pinned, or what was seen at first use."""

from adapter import Task, log, run
from megaport.store.actions import Result
from megaport.store.job import Work
from megaport.store.store import Made


def compute(work: Work, task: Task) -> Made:
    from megaport.checkpoint.files import digest_files
    from megaport.fetch.trust import content_digest

    found = digest_files(task.checkpoint(), spool=work.scratch)
    members = {
        # Alone, it is the same checkpoint under any name, in a zip or not.
        name if len(found) > 1 else "checkpoint": {"sha256": sha256, "size": size}
        for name, (sha256, size) in found.items()
    }
    digest = content_digest({name: item["sha256"] for name, item in members.items()})
    files = task.receipts["download"].facts["files"]
    return Made(facts={"files": files, "members": members, "content": digest})


def enforce(task: Task, result: Result) -> None:
    from megaport.fetch.trust import Trust

    said = task.settings["checkpoint"]
    key = f"models.{task.model}.checkpoint.sha256"
    trust = Trust.of(task.store.root, task.model, said["path"], said["urls"])
    digest = result.facts["content"]
    basis = trust.verify(digest, said["sha256"], key)
    if basis != "pinned":
        told = "checksum: %s is not pinned (%s). To pin it, set %s in config.yaml to\n  sha256: %s"
        log.warning(told, task.model, basis, key, digest)


run(snakemake, compute, accept=enforce)
