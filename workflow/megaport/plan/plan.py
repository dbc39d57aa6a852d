"""The plan of a run: fingerprints, forced rules, receipts that no longer hold."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from megaport.config.load import ConfigError
from megaport.config.model import Config, Model
from megaport.plan.parameters import Parameterizer
from megaport.store.canonical import canonical_json
from megaport.store.code import SOURCES, closure, code_digest
from megaport.store.layers import open_store
from megaport.store.stale import why_stale

# Rules by the name a user types; each has a worker rule `<name>_model` with a {model} wildcard.
RULES = (
    "download",
    "checksum",
    "inspect",
    "convert",
    "pytorch_bin",
    "assemble",
    "generate",
    "benchmark",
    "parity",
    "export",
)
# What each rule reads beside the configuration.
READS = {
    "checksum": ("download",),
    "inspect": ("checksum",),
    "convert": ("checksum",),
    "pytorch_bin": ("convert",),
    "assemble": ("checksum", "inspect", "convert"),
    "generate": ("assemble",),
    "benchmark": ("assemble",),
    "parity": ("checksum", "assemble"),
    "export": ("assemble",),
}
# What `all` builds: the way back to Megatron is made only when asked for.
BUILT = tuple(rule for rule in RULES if rule != "export")


ANY_MODEL = "[A-Za-z0-9][A-Za-z0-9._-]*"  # as the configuration allows names


class Plan:
    """Built once when the Snakefile is read. `root` is the folder of the Snakefile."""

    def __init__(self, config: Config, root: Path) -> None:
        self.config = config
        self.root = root
        self.store = open_store(config.plain())
        SOURCES.remember_in(self.store.root / "code.json")
        folders = [Path.cwd(), root]
        self.parameters = Parameterizer(config, folders, self.store.stats)
        self.planned = cache(self._planned)
        self.code = cache(self._code)

    def fingerprint(self, rule: str, model: str) -> str:
        """What Snakemake compares: parameters, code and the way files are named, as one string.

        Canonical JSON, not its digest: the job reads its parameters from it.
        """
        return canonical_json(self.planned(rule, model)).decode()

    def _planned(self, rule: str, model: str) -> dict[str, Any]:
        """A fingerprint's parts."""
        parameters = self.parameters.of(rule, model)
        return {"parameters": parameters, "way": self._way(rule)} | self.code(rule)

    def require_models_of(self, targets: Iterable[str]) -> None:
        """Raises ConfigError for a file under results/ of a model that nobody configured."""
        named = (Path(target).parts for target in targets)
        for model in (parts[1] for parts in named if len(parts) > 2 and parts[0] == "results"):
            if model not in self.config.models:
                raise ConfigError(
                    f"model {model}",
                    seen="no such name under `models`",
                    expected=", ".join(sorted(self.config.models)),
                    remedy="Correct the name, or add the model to config.yaml or a --configfile.",
                )

    def _way(self, rule: str) -> str:
        """Links into the store, but real files where people hand them on."""
        ways = {"assemble": self.config.materialize, "report": "auto"}
        return ways.get(rule, "symlink")

    def _code(self, rule: str) -> dict[str, Any]:
        """What computes a rule: the digest of its code, the packages that code imports."""
        script = self.root / "workflow" / "scripts" / f"{rule}.py"
        code = {"code": code_digest(script), "packages": sorted(closure(script)[1])}
        SOURCES.save()
        return code

    def receipts(self, rule: str) -> list[str]:
        """The receipts the named target of a rule asks for."""
        return [f"results/{model}/{rule}.json" for model in self.config.names]

    @property
    def built(self) -> tuple[str, ...]:
        """The rules that `all` asks for."""
        return BUILT

    def drop_stale(self, results: Path) -> list[str]:
        """Drop receipts that lie, and those that build on them; a line for each lie.

        Snakemake does not make a missing input of an output that exists, so what builds on a
        dropped receipt must run as well: hits, wherever the bytes come out the same.
        """
        lies = []
        for model in self.config.models:
            receipts = receipts_in(results / model)
            wrong = {
                rule: reason
                for rule, path in receipts.items()
                if (reason := why_stale(self.store, path))
            }
            lies += [f"{receipts[rule]}: {reason}" for rule, reason in wrong.items()]
            for rule in _with_dependents(wrong) & receipts.keys():
                receipts[rule].unlink(missing_ok=True)
        page = results / "report.json"
        if page.exists() and (reason := why_stale(self.store, page)):
            lies.append(f"{page}: {reason}")
        if lies:
            page.unlink(missing_ok=True)
        return lies

    def shaped(self, rule: str, shape: str) -> str:
        """A regular expression of the models whose outputs of `rule` have a shape: "", "_sharded"
        and, of model/, "_bare" and "_bare_sharded" (without a tokenizer)."""
        shapes = {"convert": _weights_shape, "assemble": _directory_shape}
        models = self.config.models
        names = [name for name, model in models.items() if shapes[rule](model) == shape]
        # Snakemake goes through the expression many times a job: a thousand names would cost.
        return ANY_MODEL if len(names) == len(models) else _alternatives(names)


def receipts_in(folder: Path) -> dict[str, Path]:
    """The receipts that a model's folder holds, by rule."""
    present = {path.name for path in folder.glob("*.json")}
    return {rule: folder / f"{rule}.json" for rule in RULES if f"{rule}.json" in present}


def _with_dependents(rules: Iterable[str]) -> set[str]:
    found = set(rules)
    for rule in RULES:  # in the order of the DAG
        if found & set(READS.get(rule, ())):
            found.add(rule)
    return found


def _weights_shape(model: Model) -> str:
    return "_sharded" if model.max_shard_size else ""


def _directory_shape(model: Model) -> str:
    return ("" if model.tokenizer else "_bare") + _weights_shape(model)


def _alternatives(names: Iterable[str]) -> str:
    """Of no names, one that matches nothing."""
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)"
