"""What happens to a checkout between two runs of a soak: each operation does one thing, by name."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from megaport.store.actions import ReceiptError
from megaport.store.store import Store
from megaport.store.upkeep import find_garbage, remove
from support.checkout import configured

MODEL = "results/austen-tiny"
RESULTS, BLOBS, ACTIONS = f"{MODEL}/**/*", ".store/sha256/??/*", ".store/actions/*"
PINNED = "0613b8e589b9c564248ed8b2d3af6adf75d44f107d481b5c4e6d66ddb6aa0ac2"
CHOICES = {
    "dtype": (None, "float32"),
    "max_shard_size": (None, 10_000_000),
    "epsilon": (None, 1e-4),
    "tokenizer": ("gpt2", None),
    "sha256": (PINNED, None),
    "materialize": ("auto", "symlink"),
}
FIRST = {name: values[0] for name, values in CHOICES.items()}
# The settings that a step's action depends on, its own or through what it reads.
WEIGHTS = ("epsilon", "dtype", "max_shard_size")
HEEDS = {
    "download": (),
    "checksum": ("sha256",),
    "inspect": ("epsilon", "tokenizer"),
    "convert": WEIGHTS,
    "pytorch_bin": WEIGHTS,
    "assemble": (*WEIGHTS, "tokenizer"),
}


@dataclass
class Soaked:
    """A checkout under soak. `known`: the actions its store must have, as step and settings;
    `harmed`: bytes in its store were changed on purpose; `lost`: digests of blobs taken from
    it, which actions that no later run asks for go on to name."""

    folder: Path
    random: Random
    settings: dict = field(default_factory=lambda: dict(FIRST))
    known: set = field(default_factory=set)
    harmed: bool = False
    lost: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def disturb(self) -> None:
        """One operation, noted in `told`."""
        operation = self.random.choices([*OPERATIONS], [*OPERATIONS.values()])[0]
        self.told.append(operation(self))

    def action(self, step: str) -> tuple:
        return (step, *(self.settings[name] for name in HEEDS[step]))

    def arguments(self) -> list[str]:
        """The command line's arguments for the settings, whose file they name."""
        return configured(self.folder, configuration(self.settings))

    def any_file(self, *globs: str) -> Path | None:
        found = sorted(p for glob in globs for p in self.folder.glob(glob) if p.is_file())
        return self.random.choice(found) if found else None


def configuration(settings: dict) -> dict:
    model = {name: settings[name] for name in ("dtype", "max_shard_size", "tokenizer")}
    model["architecture"] = {"layer_norm_epsilon": settings["epsilon"]}
    model["checkpoint"] = {"sha256": settings["sha256"]}
    return {"materialize": settings["materialize"], "models": {"austen-tiny": model}}


def set_something(soaked: Soaked) -> str:
    name = soaked.random.choice(sorted(CHOICES))
    soaked.settings[name] = soaked.random.choice(CHOICES[name])
    return f"{name}: {soaked.settings[name]}"


def set_back(soaked: Soaked) -> str:
    soaked.settings.update(FIRST)
    return "every setting as at first"


def lose_a_folder(soaked: Soaked) -> str:
    names = ["results", ".snakemake", f"{MODEL}/model", ".store", ".store/actions", ".store/stat"]
    name = soaked.random.choice(names)
    if name in (".store", ".store/actions"):
        soaked.known.clear()
    shutil.rmtree(soaked.folder / name, ignore_errors=True)
    return f"rm -r {name}"


def lose_a_file(soaked: Soaked) -> str:
    path = soaked.any_file(RESULTS, BLOBS, ACTIONS)
    if path is None:
        return "nothing to lose"
    if path.is_relative_to(soaked.folder / ".store"):
        soaked.known.clear()
        soaked.lost.add(path.name)
    path.unlink()
    return f"rm {path.relative_to(soaked.folder)}"


def harm_a_file(soaked: Soaked) -> str:
    """Cut it or change a byte, through a name that is a link, too; not a receipt: nothing vouches
    for its words."""
    path = soaked.any_file(f"{MODEL}/*/*", BLOBS)
    if path is None or not path.stat().st_size:
        return "nothing to harm"
    soaked.harmed = True
    soaked.known.clear()
    path.chmod(0o644)
    at = soaked.random.randrange(path.stat().st_size)
    if soaked.random.random() < 0.5:
        os.truncate(path, at)
        return f"truncate {path.relative_to(soaked.folder)}"
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 1]))
    return f"byte {at} of {path.relative_to(soaked.folder)}"


def touch(soaked: Soaked) -> str:
    """Everything gets a time of its own, in any order."""
    for path in sorted(soaked.folder.glob("[!.]*/**/*")):
        if path.exists():
            time = 1_700_000_000 + soaked.random.randrange(10_000_000)
            os.utime(path, (time, time), follow_symlinks=False)
    return "touch everything"


def copy(soaked: Soaked) -> str:
    keep = soaked.random.random() < 0.5
    there = soaked.folder.with_name(soaked.folder.name + "c")
    function = shutil.copy2 if keep else shutil.copyfile
    shutil.copytree(soaked.folder, there, symlinks=True, copy_function=function)
    shutil.rmtree(soaked.folder)
    soaked.folder = there
    return f"cp -r, times {'kept' if keep else 'new'}"


def move(soaked: Soaked) -> str:
    soaked.folder = soaked.folder.rename(soaked.folder.with_name(soaked.folder.name + "m"))
    return "mv"


def collect(soaked: Soaked) -> str:
    """gc of everything that results/ does not reach, without a grace."""
    store = Store(soaked.folder / ".store")
    soaked.known.clear()
    try:
        remove(find_garbage(store, [soaked.folder / "results"], 0))
    except ReceiptError:
        return "gc refuses"
    return "gc"


OPERATIONS: dict[Callable[[Soaked], str], int] = {
    set_something: 8,
    set_back: 2,
    lose_a_folder: 3,
    lose_a_file: 4,
    harm_a_file: 5,
    touch: 1,
    copy: 1,
    move: 1,
    collect: 1,
}
