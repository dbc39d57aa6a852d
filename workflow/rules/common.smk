# Read before every rule: checks the configuration, works out the plan of the run, drops receipts
# that no longer tell the truth, and tells jobs which cached actions -F and -R pass over.
import os
import sys

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from megaport.config.load import load_config
from megaport.errors import MegaportError
from megaport.plan.forcing import forced, workers
from megaport.plan.outdated import outdated
from megaport.plan.place import require_writable
from megaport.plan.plan import ANY_MODEL, BUILT, Plan
from megaport.store.presence import enter
from megaport.store.step import FORCE_VARIABLE

DEFAULT_LIMIT = (100, 1)  # --max-jobs-per-timespan, jobs and seconds

try:
    require_writable(Path.cwd())
    PLAN = Plan(load_config(config), Path(workflow.basedir))
except MegaportError as error:
    raise WorkflowError(str(error))
config.update(PLAN.config.plain())


def fingerprint(rule):
    """The one parameter of a rule: parameters and code, compared as a string."""
    return lambda wildcards: PLAN.fingerprint(rule, wildcards.get("model", ""))


class Steered(type(workflow)):
    """Hands -F, -f and -R on to worker rules and jobs, and makes what is outdated run.

    Snakemake sets `dag_settings` when the rules are read, and `_dag` before it decides what to run;
    it offers no hook in between but the assignments themselves.
    """

    def __setattr__(self, name, value):
        if name == "dag_settings" and self.is_main_process:
            value = steer(value)
        super().__setattr__(name, value)
        if name == "_dag" and value is not None:
            lift_rate_limit(self.scheduling_settings)
            if self.is_main_process:
                value.forcefiles.update(outdated(PLAN, Path("results")))


def steer(settings):
    try:
        PLAN.require_models_of(settings.targets)
    except MegaportError as error:
        raise WorkflowError(str(error))
    known = [rule.name for rule in workflow.rules]
    for field in ("forcerun", "until", "omit_from"):
        setattr(settings, field, workers(getattr(settings, field), known))
    if settings.forcetargets:
        settings.forcerun |= workers(settings.targets, known)
    os.environ[FORCE_VARIABLE] = forced(settings.forceall, settings.forcerun)
    return settings


def lift_rate_limit(settings):
    """Where no queue is to be spared, no limit of jobs a second but one that was asked for: after
    every run, and every job on a cluster, Snakemake would sit out that second."""
    limit = settings and settings.max_jobs_per_timespan
    spares_a_queue = workflow.is_main_process and not workflow.local_exec
    if limit and not spares_a_queue and (limit.max_jobs, limit.timespan) == DEFAULT_LIMIT:
        settings.max_jobs_per_timespan = None


workflow.__class__ = Steered
if workflow.is_main_process:
    os.environ[FORCE_VARIABLE] = ""
    workflow.register_envvars(FORCE_VARIABLE)
    enter(Path.cwd())
    for line in PLAN.drop_stale(Path("results")):
        print(f"dropped {line}", file=sys.stderr)


wildcard_constraints:
    model=ANY_MODEL,


localrules:
    all,
