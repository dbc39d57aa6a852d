# What each job asks for where something else than this machine runs it: see
# megaport/plan/resources.py. Without an executor or --resources nothing is limited by it.
from megaport.generate.hardware import gpu_names
from megaport.plan import resources as needs


def memory_mb(rule):
    return asking(needs.memory_mb, rule)


def runtime_minutes(rule):
    return asking(needs.runtime_minutes, rule)


def asking(need, rule):
    return lambda wildcards, input, attempt: need(rule, sized_by(rule, wildcards, input), attempt)


def sized_by(rule, wildcards, input):
    """Rules that only move bytes go by the size of the download: it is known before the first job is
    submitted, so that a scheduler may take several of them as one."""
    download = Path(f"results/{wildcards.model}/download.json")
    return input if rule in needs.NEEDS or not download.exists() else [download]


def gpus(section):
    """Cards for a rule whose device stands under `section` of config.yaml."""
    return needs.gpus(config[section]["device"], bool(gpu_names()))
