"""Digest the members of a checkpoint; enforce what is pinned, or what was seen at first use."""

from adapter import Task, contents, log, run
from megaport.store.actions import Result
from megaport.store.step import Job
from megaport.store.store import Made


def compute(job: Job) -> Made:
    from megaport.checkpoint.files import content_facts
    from megaport.fetch.checksum import content_digest

    task = Task(snakemake)
    files = task.receipt("download").facts["files"]
    found = content_facts(task.checkpoint(files), spool=job.scratch)
    members = {
        # Alone, it is the same checkpoint under any name, in a zip or not.
        name if len(found) > 1 else "checkpoint": {"sha256": sha256, "size": size}
        for name, (sha256, size) in found.items()
    }
    digest = content_digest({name: item["sha256"] for name, item in members.items()})
    return Made(facts={"files": files, "members": members, "content": digest})


def enforce(task: Task, result: Result) -> None:
    from megaport.fetch.trust import Trust

    checkpoint = task.settings["checkpoint"]
    sources = [checkpoint["path"]] if checkpoint["path"] else checkpoint["urls"]
    members = {name: item["sha256"] for name, item in result.facts["members"].items()}
    key = f"models.{task.model}.checkpoint.sha256"
    trust = Trust(task.store.root, task.model, sources)
    verdict = trust.verify(members, checkpoint["sha256"], key)
    if verdict.line_to_paste:
        log.warning(
            "%s: %s is not pinned (%s). To pin it, set %s in config.yaml to\n  %s",
            task.rule,
            task.model,
            verdict.basis,
            key,
            verdict.line_to_paste,
        )


run(
    snakemake,
    compute,
    lambda task: {"download": contents(task.receipt("download").facts["files"])},
    accept=enforce,
)
