"""What the soak expects: clean builds to compare with, and which bodies a run must compute.

Nothing of the store's code is used here: keys and digests are a clean build's, and whether a folder
has them is seen by hashing what lies there.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from support.checkout import Ran, checkout

MODEL = "results/austen-tiny"
# The rules of the sequences in the DAG's order, the receipts each reads, the settings it heeds.
READS = {
    "download": (),
    "checksum": ("download",),
    "inspect": ("checksum",),
    "convert": ("checksum",),
    "pytorch_bin": ("convert",),
    "assemble": ("checksum", "inspect", "convert"),
}
HEEDS = {
    "checksum": ("sha256",),
    "inspect": ("epsilon",),
    "convert": ("epsilon", "dtype", "max_shard_size"),
    "assemble": ("tokenizer",),
}
Settings = dict[str, str | int | float | None]


def write_settings(folder: Path, settings: Settings) -> list[str]:
    """The command line's arguments for a configuration, whose file they name."""
    model = {name: settings[name] for name in ("dtype", "max_shard_size", "tokenizer")}
    model["architecture"] = {"layer_norm_epsilon": settings["epsilon"]}
    model["checkpoint"] = {"sha256": settings["sha256"]}
    whole = {"materialize": settings["materialize"], "models": {"austen-tiny": model}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(whole))
    return ["--configfile", "mine.yaml"]


def rule_of(name: str) -> str:
    """The rule that makes a file under the model's results."""
    folders = {"converted": "convert", "model": "assemble", "inspection": "inspect"}
    path = Path(name)
    if path.name == "pytorch_model.bin":
        return "pytorch_bin"
    return folders.get(path.parts[0], path.stem)


def behind(rules: Iterable[str]) -> list[str]:
    """The rules that a run for `rules` may touch, in the DAG's order."""
    wanted = set(rules)
    for rule in reversed(READS):
        if rule in wanted:
            wanted |= set(READS[rule])
    return [rule for rule in READS if rule in wanted]


def digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def shown(folder: Path, rules: Iterable[str]) -> dict[str, str | None]:
    """The digest of every file under the model's results that belongs to `rules`, by name."""
    top = folder / MODEL
    names = {str(p.relative_to(top)): p for p in top.rglob("*") if not p.is_dir()}
    kept = {n: p for n, p in names.items() if "run" not in p.parts and rule_of(n) in rules}
    return {name: digest(path) for name, path in kept.items()}


@dataclass(frozen=True)
class Reference:
    """A clean build: every rule's action key and outputs (name -> digest), every file's digest."""

    keys: dict[str, str]
    outputs: dict[str, dict[str, str]]
    files: dict[str, str | None]

    def of(self, rules: Iterable[str]) -> dict[str, str | None]:
        return {name: value for name, value in self.files.items() if rule_of(name) in rules}


class CleanBuilds:
    """References by configuration, each built once from nothing."""

    def __init__(self, top: Path, snakemake: Callable[..., Ran]) -> None:
        self.top = top
        self.source = checkout(top / "source")  # as it is now: a soak takes hours
        self.snakemake = snakemake
        self.known: dict[tuple, Reference] = {}
        self.identities: dict[str, tuple] = {}

    def of(self, settings: Settings) -> Reference:
        """`materialize` says how files are shown, not what is in them: it makes no other build."""
        name = tuple(settings[key] for key in sorted(settings) if key != "materialize")
        if name not in self.known:
            folder = self.top / f"clean{len(self.known)}"
            self.known[name] = self.build(folder, settings)
            shutil.rmtree(folder)
        return self.known[name]

    def build(self, folder: Path, settings: Settings) -> Reference:
        checkout(folder, self.source)
        ran = self.snakemake(folder, "assemble", "pytorch_bin", *write_settings(folder, settings))
        assert (ran.status, ran.computed) == (0, set(READS)), ran.text
        return self.reference(folder, settings)

    def reference(self, folder: Path, settings: Settings) -> Reference:
        receipts = {
            rule: json.loads((folder / MODEL / f"{rule}.json").read_text()) for rule in READS
        }
        outputs = {
            rule: {name: item["sha256"] for name, item in receipt["outputs"].items()}
            for rule, receipt in receipts.items()
        }
        keys = {rule: receipt["action"] for rule, receipt in receipts.items()}
        for rule, key in keys.items():
            heeded = [settings[name] for name in HEEDS.get(rule, ())]
            read = [sorted(outputs[earlier].items()) for earlier in READS[rule]]
            identity = (rule, repr(heeded), repr(read))
            assert self.identities.setdefault(key, identity) == identity, "one key, two meanings"
        assert len(set(self.identities.values())) == len(self.identities), "one meaning, two keys"
        return Reference(keys, outputs, shown(folder, READS))


def expected(folder: Path, rules: list[str], clean: Reference) -> tuple[set[str], set[str]]:
    """Which bodies a run for `rules` must compute in `folder` as it is now, and which it may.

    A rule runs if its receipt, blobs or files are not a clean build's or if one before it runs; it
    computes if its action or one of its blobs is gone. Snakemake may run more where its memory or
    the files' times were disturbed, and then computes only what the store does not know.
    """
    blobs = {value for made in clean.outputs.values() for value in made.values()}
    good = {value for value in blobs if digest(_blob(folder, value)) == value}
    files = shown(folder, rules)
    runs: set[str] = set()
    must: set[str] = set()
    may: set[str] = set()
    for rule in rules:
        made = set(clean.outputs[rule].values())
        receipt_and_files = {name: files.get(name) for name in clean.of([rule])}
        standing = receipt_and_files == clean.of([rule]) and made <= good
        known = made <= good and _action_holds(folder, clean, rule)
        if not standing or runs & set(READS[rule]):
            runs.add(rule)
            good |= made
        if not known:
            may.add(rule)
            must |= {rule} & runs
    return must, may


def _blob(folder: Path, value: str) -> Path:
    return folder / ".store" / "sha256" / value[:2] / value


def _action_holds(folder: Path, clean: Reference, rule: str) -> bool:
    try:
        entry = json.loads((folder / ".store" / "actions" / clean.keys[rule]).read_text())
    except (OSError, ValueError):
        return False
    return {n: item["sha256"] for n, item in entry["outputs"].items()} == clean.outputs[rule]
