"""A one-node Slurm on loopback, from Debian's packages: installed, started, stopped, taken away.

Needs root. /etc/slurm/slurm.conf is where srun of a job looks (SLURM_CONF does not reach it), so a
machine that has one already belongs to a cluster and is left alone.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = Path("/etc/slurm/slurm.conf")
GRES = Path("/etc/slurm/gres.conf")
MUNGE_SOCKETS = Path("/run/munge")
WAIT_S = 60
# The card is a promise, not a device: what can be seen is that a request for one reaches Slurm.
TEMPLATE = """\
ClusterName=megaport
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MinJobAge=86400
ReturnToService=2
SchedulerParameters=batch_sched_delay=1,sched_interval=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def one_node_slurm(folder: Path) -> Iterator[None]:
    """A Slurm that answers, while the block runs; its daemons end with it."""
    require_free_machine()
    install()
    munge = start_munge()
    host = socket.gethostname()
    (folder / "state").mkdir(parents=True)
    memory = re.search(r"RealMemory=(\d+)", output("slurmd", "-C"))
    cpus = len(os.sched_getaffinity(0))
    SETTINGS.write_text(
        TEMPLATE.format(host=host, folder=folder, cpus=cpus, memory=memory.group(1))
    )
    GRES.write_text("Name=gpu File=/dev/null\n")
    try:
        output("slurmctld")
        output("slurmd", "-N", host)
        wait_until("the node is idle", lambda: "idle" in output("sinfo", "-h", "-o", "%T"))
        yield
    finally:
        stop(folder, munge)


def require_free_machine() -> None:
    if os.geteuid() != 0:
        sys.exit("test-slurm starts Slurm's daemons: run it as root, in a container or a machine")
    if SETTINGS.exists():
        sys.exit(f"{SETTINGS} exists: this machine has a Slurm of its own, which is left alone")


def install() -> None:
    if all(map(shutil.which, ("slurmctld", "slurmd", "sbatch", "munged"))):
        return
    quiet = {"DEBIAN_FRONTEND": "noninteractive", **os.environ}
    output("apt-get", "update", "-qq", env=quiet)
    wanted = ("slurm-wlm", "munge")
    output("apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted, env=quiet)


def start_munge() -> Path | None:
    """The pid file of a munged started here; None where one runs already."""
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        return None
    MUNGE_SOCKETS.mkdir(exist_ok=True)
    shutil.chown(MUNGE_SOCKETS, "munge", "munge")
    MUNGE_SOCKETS.chmod(0o755)
    output("runuser", "-u", "munge", "--", "munged")
    return MUNGE_SOCKETS / "munged.pid"


def stop(folder: Path, munge: Path | None) -> None:
    output("scancel", "--user", "root", check=False)
    wait_until("the jobs are gone", lambda: not output("squeue", "-h", check=False))
    for file in (folder / "slurmd.pid", folder / "slurmctld.pid", munge):
        if file and file.exists():
            end(int(file.read_text()))
    SETTINGS.unlink(missing_ok=True)
    GRES.unlink(missing_ok=True)


def end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    wait_until(f"process {pid} is gone", lambda: gone(pid))


def gone(pid: int) -> bool:
    """Also true of one that only waits for its parent to look (in containers none may)."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def wait_until(what: str, true: object, seconds: float = WAIT_S) -> None:
    limit = time.monotonic() + seconds
    while not true():
        if time.monotonic() > limit:
            sys.exit(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.2)


def output(*command: str, env: dict[str, str] | None = None, check: bool = True) -> str:
    """What a command prints; where it fails, everything it said and exit status 1."""
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if check and done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
