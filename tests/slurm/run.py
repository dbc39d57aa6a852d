"""`snakemake --profile profiles/slurm all` for three models, on a Slurm that things happen to.

    PYTHONPATH=workflow:tests python tests/slurm/run.py

Installs Slurm (Debian) and the executor (PyPI) where they are missing, starts one node on loopback,
cancels a job, kills a worker, kills the submitting Snakemake, submits again; stops what it started.
"""

import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml
from daemons import one_node_slurm, output, wait_until
from queue_of_slurm import (
    Job,
    cancel,
    end_processes_in,
    ended,
    jobs,
    kill_script,
    running,
    state,
)

from support.checkout import ENVIRONMENT, SHORT, SIZES, ZIP, checkout
from support.demands import call, demand, say, summary

HERE = Path(__file__).parent
LIMIT_S = 1800  # a machine may be busy; what is waited for comes or Snakemake ends
CHECKPOINT = {
    "checkpoint": {"path": ZIP},
    "architecture": SIZES,
    "tokenizer": "gpt2",
}
MODELS = {
    "one": CHECKPOINT,
    "two": CHECKPOINT | {"dtype": "float32"},
    "three": CHECKPOINT | {"max_shard_size": 8_000_000},
}
SETTINGS = {
    "model": list(MODELS),
    "models": MODELS,
    "generate": {"max_length": 12},
    "benchmark": SHORT,
}
QUICK = ["--seconds-between-status-checks=2", "--slurm-init-seconds-before-status-checks=2"]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
    with tempfile.TemporaryDirectory(prefix="megaport-slurm-") as folder:
        python = environment(Path(folder) / "tools")
        copy = checkout(Path(folder) / "checkout")
        (copy / "three.yaml").write_text(yaml.safe_dump(SETTINGS))
        snakemake = [
            python, "-m", "snakemake", "--profile", "profiles/slurm", *QUICK,
            "--configfile", "three.yaml", "--",
        ]  # fmt: skip
        try:
            with one_node_slurm(Path(folder) / "slurm"):
                began = time.monotonic()
                disturb(snakemake, copy)
                finish(snakemake, copy)
                ask_for_a_card(snakemake, copy)
                say(f"{len(jobs())} Slurm jobs in {time.monotonic() - began:.0f} s")
        finally:
            end_processes_in(Path(folder))
    demand(not Path("/etc/slurm/slurm.conf").exists(), "nothing is left behind")
    summary()


def environment(folder: Path) -> Path:
    """A Python with the executor, and all of this environment's packages behind it."""
    output(sys.executable, "-m", "venv", str(folder))
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    output(str(python), "-m", "pip", "install", "-qr", str(HERE / "requirements.txt"))
    return python


def disturb(snakemake: list, copy: Path) -> None:
    """A first run whose job is cancelled, whose worker is killed, and which is killed itself."""
    log = copy / "first.log"
    with log.open("w") as file:
        run = subprocess.Popen(
            [*snakemake, "all"], cwd=copy, env=ENVIRONMENT, stdout=file, stderr=file
        )
    try:
        lost = harm_one(run, cancel, besides=[])
        require_more_the_second_time(lost)
        harm_one(run, kill_script, besides=[lost])
    except SystemExit:
        print(log.read_text())
        for said in sorted((copy / ".snakemake/slurm_logs").rglob("*.log")):
            print(f"== {said.name}", said.read_text(), sep="\n")
        raise
    finally:
        run.kill()
        run.wait()


def harm_one(run: subprocess.Popen, harm: Callable[[Job], bool], besides: list[str]) -> str:
    """Do harm to a parity job at work, see it submitted again; its name. One that ends well all the
    same, as it was done already, is let go."""
    names = [f"parity_model_wildcards_{model}" for model in MODELS]
    left = [name for name in names if name not in besides]
    while True:
        wait_until("a parity job is at work", partial(at_work, run, left), LIMIT_S)
        job = next(filter(None, map(running, left)), None)
        if job and harm(job):
            wait_until(f"{job.name} has ended", partial(ended, job), LIMIT_S)
            if state(job) != "COMPLETED":
                break
            left.remove(job.name)
    wait_until(f"{job.name} is submitted again", partial(submitted_twice, run, job.name), LIMIT_S)
    demand(True, f"{harm.__name__}: the job was submitted again")
    return job.name


def at_work(run: subprocess.Popen, names: list[str]) -> bool:
    require_alive(run)
    return any(map(running, names))


def submitted_twice(run: subprocess.Popen, name: str) -> bool:
    require_alive(run)
    return len(named(name)) > 1


def require_alive(run: subprocess.Popen) -> None:
    if run.poll() is not None:
        sys.exit(f"Snakemake ended too early, with exit status {run.returncode}")


def require_more_the_second_time(name: str) -> None:
    first, second = named(name)[:2]
    asked = [f"{job.memory_mb} MB, {job.minutes} min" for job in (first, second)]
    twice = (2 * first.memory_mb, 2 * first.minutes) == (second.memory_mb, second.minutes)
    demand(twice, f"asked for by size and attempt: {asked[0]}, then {asked[1]}")


def named(name: str) -> list[Job]:
    return [job for job in jobs() if job.name == name]


def finish(snakemake: list, copy: Path) -> None:
    """The same command again, beside the jobs that the killed run left in the queue."""
    there = {"cwd": copy, "env": ENVIRONMENT}
    began = time.monotonic()
    call([*snakemake[:-1], "--unlock"], **there)
    call([*snakemake, "all"], **there)
    say(f"after the kill: {time.monotonic() - began:.0f} s")
    demand(True, "a second run finishes what the killed one began")
    missing = [model for model in MODELS if not (copy / f"results/{model}/parity.json").exists()]
    demand(not missing and (copy / "results/report.html").exists(), "three models and their report")
    demand("Nothing to be done" in call([*snakemake, "all"], **there), "then nothing to be done")
    demand(not any(job.cards for job in jobs()), "no card was asked for where there is none")


def ask_for_a_card(snakemake: list, copy: Path) -> None:
    """Slurm promises a card that the machine lacks: the request arrives, the job says no."""
    (copy / "card.yaml").write_text(yaml.safe_dump({**SETTINGS, "generate": {"device": "cuda"}}))
    command = [*snakemake[:-2], "card.yaml", "--retries=0", "--", "results/one/generate.json"]
    text = call(command, status=1, cwd=copy, env=ENVIRONMENT)
    demand("cuda" in text and "Traceback" not in text, "a missing card is explained")
    cards = named("generate_model_wildcards_one")[-1].cards
    demand(cards == "gres:gpu:1", f"device: cuda asks Slurm for {cards}")


if __name__ == "__main__":
    main()
