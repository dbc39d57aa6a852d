# What each job asks for where something else than this machine runs it: see
# megaport/plan/resources.py. Without an executor or --resources nothing is limited by it.
from megaport.generate.hardware import gpu_names
from megaport.plan import resources as needs


def memory_mb(rule):
    return lambda wildcards, input, attempt: needs.memory_mb(rule, input, attempt)


def runtime_minutes(rule):
    return lambda wildcards, input, attempt: needs.runtime_minutes(rule, input, attempt)


def gpus(section):
    """Cards for a rule whose device stands under `section` of config.yaml."""
    return needs.gpus(config[section]["device"], bool(gpu_names()))
