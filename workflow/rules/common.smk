# Read before every rule: checks the configuration, and gives rules the input functions that put back
# what is known before any job is planned (megaport/restore.py). They are called in the main process,
# for exactly the jobs that a target reaches, before Snakemake looks at what exists.
import gc
import sys
import time
from contextlib import suppress
from functools import cache
from inspect import signature

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

HERE = Path(str(workflow.current_basedir))  # of this file, in a module as well
ROOT = HERE.parents[1]
BEGAN = time.time()
# A plan of thousands of jobs lives to the end: searching it for cycles, again and again, finds none.
gc.set_threshold(100_000)
sys.path.insert(0, str(HERE.parent))

from megaport.config.load import load_config
from megaport.errors import MegaportError
from megaport.generate.hardware import gpu_names
from megaport.plan import ANY_MODEL, Plan, models_shaped
from megaport.restore import Restorer, is_locked, makes_one_of, require_writable
from megaport.steps import BUILT, PAGE, REPORT, SHOWN, STEPS

# A module may be given a part of the configuration: the rest is as in config.yaml.
settings = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
unasked = settings["model"]
update_config(settings, config)
try:
    require_writable(Path.cwd())
    CONFIG = load_config(settings, unasked)
except MegaportError as error:
    raise WorkflowError(str(error))
config.update(CONFIG.plain())


@cache
def plan():
    """What is to be done, once it is clear whether anything may be written."""
    return Plan(CONFIG, ROOT, frozen=workflow.dryrun)


@cache
def restorer():
    # Snakemake may have listed a folder already, for another target.
    look_anew = workflow.iocache.deactivate
    return Restorer(plan(), receipt_of, is_forced, look_anew, frozen=workflow.dryrun)


@cache
def receipts_of(step):
    """Where Snakemake expects a step's receipts: a module's prefix is in the rule."""
    worker = getattr(rules, step if step == REPORT.name else f"{step}_model")
    return str(worker.output.receipt)


def receipt_of(step, model):
    return Path(receipts_of(step).format(model=model))


@cache
def names_of(step):
    """The rules of a step as this workflow knows them: a module may have renamed them."""
    workers = (f"{step}_model{shape}" for shape in ("", "_sharded", "_bare", "_bare_sharded"))
    return {getattr(rules, name).rule.name for name in (step, *workers) if rules.has(name)}


def is_forced(step, receipt):
    """Whether -F, -f or -R ask for a step, its target, or a file of it."""
    asked = workflow.dag_settings
    names = asked.forcerun | (set(asked.targets) if asked.forcetargets else set())
    named = names and (names_of(step) & names or makes_one_of(names, receipt))
    return bool(asked.forceall or named)


@cache
def runs_jobs():
    """Whether this process is about to run jobs: not one of them, no dry run, no --touch, no report,
    and nobody else at work here."""
    executes = workflow.executor_plugin and not workflow.dryrun and not workflow.touch
    return bool(workflow.is_main_process and executes and not is_locked())


def asked_for_each_job(function):
    """Snakemake asks five times a job which arguments a function takes: found out once."""
    function.__signature__ = signature(function)
    return function


def before(step):
    """The receipts a step reads, once what is known of it has been put back."""

    @asked_for_each_job
    def inputs(wildcards):
        model = wildcards.get("model", "")
        if model and model not in CONFIG.models:
            known = ", ".join(sorted(CONFIG.models))
            return f"model {model}: no such name under `models`, which has {known}"
        try:
            if runs_jobs() and not is_left_out(step) and not is_beyond(step):
                restorer().settle(step, model)
        except OSError as error:
            # Said as a missing input: Snakemake shows these without a traceback.
            return f"{error}: mend it, then run the same command again"
        return [f"results/{model}/{earlier}.json" for earlier in STEPS[step].reads]

    return inputs


def every(*steps):
    """The receipts of steps for all models that `model:` names; --omit-from leaves some out."""
    return lambda wildcards: [
        f"results/{model}/{kept}.json"
        for kept in dict.fromkeys(kept for step in steps for kept in kept_of(step))
        for model in CONFIG.names
    ]


def kept_of(step):
    """The step, or where --omit-from leaves it out, what is left of those that it reads."""
    reads = (kept for earlier in STEPS[step].reads for kept in kept_of(earlier))
    return [*reads] if is_left_out(step) else [step]


@cache
def is_left_out(step):
    """Whether --omit-from names a step or one that it reads from, by their targets."""
    named = names_of(step) & workflow.dag_settings.omit_from
    return bool(named) or any(map(is_left_out, STEPS[step].reads))


@cache
def is_beyond(step):
    """Whether --until stops before a step: what it made stays as it is."""
    until = workflow.dag_settings.until
    return any(names_of(earlier) & until or is_beyond(earlier) for earlier in STEPS[step].reads)


def shown(wildcards):
    """The receipts of what the page shows; the page itself is put back where it is known."""
    if runs_jobs():
        restorer().settle("report", "")
    return every(*SHOWN)(wildcards)


def page(wildcards):
    """The page, where all that it shows is made."""
    return [] if any(map(is_left_out, SHOWN)) else "results/report.html"


def fingerprint(step):
    """The one parameter of a rule: parameters and code, compared as a string."""

    @asked_for_each_job
    def told(wildcards):
        model = wildcards.get("model", "")
        known = plan().fingerprint(step, model)
        if workflow.dryrun and not restorer().settle(step, model):
            # A dry run removes no receipt: this is how it shows what a run would do.
            return f"{known} unknown"
        return known

    return told


def facts(names):
    """What there is of the models; of one whose files were harmed, nothing."""
    from megaport.report.model import found

    told = []
    for name in names:
        with suppress(MegaportError, OSError, ValueError, LookupError):
            told.append(found(name, receipt_of("download", name).parent))
    return told


def say_what_came_of_it():
    """The end of a run that went well."""
    from megaport.report.model import ending

    if workflow.is_main_process:
        told, others = CONFIG.names[:3], CONFIG.names[3:]
        page = receipt_of("report", "").with_suffix(".html")
        for line in ending(facts(told), len(others), page):
            print(line, file=sys.stderr)


def show_what_failed():
    """What jobs elsewhere said at their end, as the quiet profile hides it; and a parity that failed
    stops the run before its report: the page says so all the same."""
    from megaport.report.page import render_page

    if not workflow.is_main_process:
        return
    if not workflow.local_exec:
        print(*errors_since(BEGAN, CONFIG.names), sep="\n", file=sys.stderr)
    models = facts(CONFIG.names)
    if any(model.outcome == "failed" for model in models):
        page = receipt_of("report", "").with_suffix(".html")
        page.write_text(render_page(models, ROOT / PAGE), encoding="utf-8")
        print(f"report: {page}", file=sys.stderr)


def errors_since(began, names):
    """The errors in the logs of the models' steps that were written since then."""
    for name in names:
        for log in sorted((receipt_of("download", name).parent / "run").glob("*.log")):
            if log.stat().st_mtime >= began:
                lines = log.read_text(encoding="utf-8").splitlines()
                yield from (f"{log}: {line}" for line in lines if line.startswith("error: "))


# What each job asks for where something else than this machine runs it: `need` in steps.py. Without an
# executor or --resources nothing is limited by it.
def memory_mb(step):
    return lambda wildcards, input, attempt: STEPS[step].need.memory(
        sized_by(step, wildcards, input), attempt
    )


def runtime_minutes(step):
    return lambda wildcards, input, attempt: STEPS[step].need.minutes(
        sized_by(step, wildcards, input), attempt
    )


def sized_by(step, wildcards, input):
    """Steps that only move bytes go by the size of the download: it is known before the first job is
    submitted, so that a scheduler may take several of them as one."""
    download = receipt_of("download", wildcards.model)
    known = STEPS[step].moves_bytes and download.exists()
    return [download] if known else map(Path, input)


def gpus(section):
    """Cards, by the device under `section` of config.yaml; `auto`: where this machine has one."""
    device = config[section]["device"]
    return int(device == "cuda" or (device == "auto" and bool(gpu_names())))


wildcard_constraints:
    model=ANY_MODEL,
