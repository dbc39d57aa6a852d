"""-F and -R: the rules that Snakemake must run and jobs must compute, from what a user names."""

from collections.abc import Iterable
from pathlib import Path

from megaport.plan.plan import RULES


def workers(names: Iterable[str], known: Iterable[str]) -> set[str]:
    """`names` (of rules or files) with the worker rules of every named target added.

    `-R convert` names the target rule; the work is done by `convert_model` and its variants, of
    which the rules `known` to the workflow are a part.
    """
    given = set(names)
    return given | {rule for rule in known if rule.partition("_model")[0] in given & set(RULES)}


def forced(everything: bool, names: Iterable[str]) -> str:
    """The rules whose cached actions must be passed over, for the jobs' environment."""
    if everything:
        return "*"
    return ",".join(sorted({_rule_of(name) for name in names}))


def _rule_of(name: str) -> str:
    """The rule behind a rule name, a worker's name or a file under results/<model>/."""
    if name.startswith("results/"):
        return _rule_of_file(name)
    return name.partition("_model")[0]


def _rule_of_file(name: str) -> str:
    """The rule that makes a file, by the folder it lies in (design: files under results/)."""
    folders = {"converted": "convert", "model": "assemble", "inspection": "inspect"}
    files = {"pytorch_model.bin": "pytorch_bin"}
    *path, file = Path(name).parts[1:]
    if file in files:
        return files[file]
    if len(path) > 1:
        return folders.get(path[1], path[1])
    return "generate" if file.startswith("generations.") else Path(file).stem
