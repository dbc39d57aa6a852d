# Read before every rule: checks the configuration, works out the plan of the run, drops receipts
# that no longer tell the truth, and tells jobs which cached actions -F and -R pass over.
import os
import sys

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from megaport.config.load import load_config
from megaport.errors import MegaportError
from megaport.plan.plan import BUILT, Plan, forced, workers
from megaport.store.presence import enter
from megaport.store.step import FORCE_VARIABLE

try:
    PLAN = Plan(load_config(config), Path(workflow.basedir))
except MegaportError as error:
    raise WorkflowError(str(error))
validate(config, "../schemas/config.schema.json")
config.update(PLAN.config.plain())


def fingerprint(rule):
    """The one parameter of a rule: parameters and code, compared as a string."""
    return lambda wildcards: PLAN.fingerprint(rule, wildcards.get("model", ""))


class ForceWorkers(type(workflow)):
    """-F, -f and -R name target rules: hands them on to the worker rules and to the jobs.

    Snakemake sets `dag_settings` when the rules are read and before it builds the DAG, and offers
    no hook in between but the assignment itself.
    """

    def __setattr__(self, name, value):
        super().__setattr__(name, steer(value) if name == "dag_settings" else value)


def steer(settings):
    known = [rule.name for rule in workflow.rules]
    for field in ("forcerun", "until", "omit_from"):
        setattr(settings, field, workers(getattr(settings, field), known))
    if settings.forcetargets:
        settings.forcerun |= workers(settings.targets, known)
    os.environ[FORCE_VARIABLE] = forced(settings.forceall, settings.forcerun)
    return settings


if workflow.is_main_process:
    workflow.__class__ = ForceWorkers
    os.environ[FORCE_VARIABLE] = ""
    workflow.register_envvars(FORCE_VARIABLE)
    enter(Path.cwd())
    for line in PLAN.drop_stale(Path("results")):
        print(f"dropped {line}", file=sys.stderr)


wildcard_constraints:
    model=PLAN.wildcard,


localrules:
    all,
