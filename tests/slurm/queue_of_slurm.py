"""What a Slurm knows of its jobs, by the comment that Snakemake's executor gives them."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from daemons import gone, output, wait_until


@dataclass(frozen=True)
class Job:
    """One Slurm job: `name` is rule and wildcards, `memory_mb` and `cards` what was asked for."""

    id: str
    name: str
    state: str
    memory_mb: int
    minutes: int
    cards: str


def jobs() -> list[Job]:
    """Every job of this Slurm, also finished ones, oldest first."""
    lines = output("scontrol", "-o", "show", "job", check=False).splitlines()
    return [_job(line) for line in lines if "JobId=" in line]


def _job(line: str) -> Job:
    told = dict(re.findall(r"(\S+?)=(\S*)", line))
    days_hours = re.match(r"(?:(\d+)-)?(\d+):(\d+)", told["TimeLimit"]).groups(default="0")
    days, hours, minutes = map(int, days_hours)
    return Job(
        id=told["JobId"],
        name=told.get("Comment", "").removeprefix("rule_"),
        state=told["JobState"],
        memory_mb=_megabytes(told["MinMemoryNode"]),
        minutes=(days * 24 + hours) * 60 + minutes,
        cards=told.get("TresPerJob", ""),
    )


def _megabytes(text: str) -> int:
    """Slurm prints 2000M, 4G or 4.50G; its G is 1024 M."""
    number, unit = re.match(r"([\d.]+)([MG])", text).groups()
    return round(float(number) * (1024 if unit == "G" else 1))


def running(name: str) -> Job | None:
    """The running job of a rule and model, once its script has started."""
    found = [job for job in jobs() if job.name == name and job.state == "RUNNING"]
    return found[-1] if found and script_of(found[-1]) else None


def script_of(job: Job) -> int | None:
    """The process that computes, below Slurm's and Snakemake's own."""
    found = (
        pid
        for pid, id, command in processes_of_jobs()
        if id == job.id and b"/scripts/" in b"".join(command[1:2])
    )
    return next(found, None)


def processes_of_jobs() -> Iterator[tuple[int, str, list[bytes]]]:
    """Process number, Slurm job id and command line of all that jobs of Slurm's started."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            job = re.search(rb"(?:^|\0)SLURM_JOB_ID=(\d+)", (process / "environ").read_bytes())
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if job:
            yield int(process.name), job.group(1).decode(), command


def end_processes_in(folder: Path) -> None:
    """Kill what jobs left running there: without cgroups Slurm loses sight of a job's process whose
    parent died first."""
    for pid, _, command in processes_of_jobs():
        if str(folder).encode() in b"".join(command):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until(f"process {pid} is gone", partial(gone, pid))


def kill_script(job: Job) -> bool:
    """Whether its script was there to be killed."""
    script = script_of(job)
    if script is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(script, signal.SIGKILL)
        return True
    return False


def cancel(job: Job) -> bool:
    output("scancel", job.id)
    return True


def state(job: Job) -> str:
    """What has become of it."""
    return next((other.state for other in jobs() if other.id == job.id), job.state)


def ended(job: Job) -> bool:
    return state(job) not in ("RUNNING", "COMPLETING")
