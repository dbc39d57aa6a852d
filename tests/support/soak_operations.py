"""What happens to a checkout between two runs of a soak: each does one thing and says what."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from megaport.store.collect import find_garbage, remove
from megaport.store.errors import ReceiptError
from megaport.store.store import Store
from support.soak_model import MODEL, Settings


@dataclass
class Soaked:
    """A checkout under soak; `harmed`: something in its store was damaged on purpose."""

    folder: Path
    settings: Settings
    random: Random
    choices: dict[str, tuple]
    harmed: bool = False
    disturbed: bool = False  # Snakemake's memory or the files' times
    told: list[str] = field(default_factory=list)

    def any_file(self, *globs: str) -> Path | None:
        found = sorted(p for glob in globs for p in self.folder.glob(glob) if not p.is_dir())
        return self.random.choice(found) if found else None


Operation = Callable[[Soaked], str]
RESULTS, BLOBS = f"{MODEL}/**/*", ".store/sha256/??/*"


def set_something(soaked: Soaked) -> str:
    name = soaked.random.choice(sorted(soaked.choices))
    soaked.settings[name] = soaked.random.choice(soaked.choices[name])
    soaked.disturbed |= name == "materialize"
    return f"{name}: {soaked.settings[name]}"


def set_back(soaked: Soaked) -> str:
    soaked.settings.update({name: values[0] for name, values in soaked.choices.items()})
    return "every setting as at first"


def lose_a_folder(soaked: Soaked) -> str:
    name = soaked.random.choice(
        ["results", ".snakemake", ".store", f"{MODEL}/model", ".store/actions", ".store/stat"]
    )
    soaked.disturbed |= name == ".snakemake"
    soaked.harmed |= name == ".store/sha256"
    shutil.rmtree(soaked.folder / name, ignore_errors=True)
    return f"rm -r {name}"


def lose_a_file(soaked: Soaked) -> str:
    path = soaked.any_file(RESULTS, BLOBS, ".store/actions/*", ".store/code.json")
    if path is None:
        return "nothing to lose"
    soaked.harmed |= path.is_relative_to(soaked.folder / ".store" / "sha256")
    path.unlink()
    return f"rm {path.relative_to(soaked.folder)}"


def cut_a_file(soaked: Soaked) -> str:
    """Through a name that is a link, too: then the blob is cut."""
    path = soaked.any_file(RESULTS, BLOBS, ".store/actions/*", ".store/stat/*/*")
    if path is None or not path.exists():
        return "nothing to cut"
    soaked.harmed = True
    path.chmod(0o644)
    os.truncate(path, soaked.random.randrange(path.stat().st_size + 1) // 2)
    return f"truncate {path.relative_to(soaked.folder)}"


def edit_a_file(soaked: Soaked) -> str:
    """One byte of it; a receipt is no file to edit, as nothing vouches for its words."""
    path = soaked.any_file(f"{MODEL}/*/*", BLOBS)
    if path is None or not path.exists() or not path.stat().st_size:
        return "nothing to edit"
    soaked.harmed = True
    path.chmod(0o644)
    with path.open("r+b") as file:
        at = soaked.random.randrange(path.stat().st_size)
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
    soaked.disturbed = True
    return "touch everything"


def copy(soaked: Soaked) -> str:
    keep = soaked.random.random() < 0.5
    there = soaked.folder.with_name(soaked.folder.name + "c")
    function = shutil.copy2 if keep else shutil.copyfile
    shutil.copytree(soaked.folder, there, symlinks=True, copy_function=function)
    shutil.rmtree(soaked.folder)
    soaked.folder, soaked.disturbed = there, True
    return f"cp -r, times {'kept' if keep else 'new'}"


def move(soaked: Soaked) -> str:
    soaked.folder = soaked.folder.rename(soaked.folder.with_name(soaked.folder.name + "m"))
    return "mv"


def comment(soaked: Soaked) -> str:
    path = soaked.random.choice(sorted(soaked.folder.glob("workflow/megaport/*/*.py")))
    path.write_text(path.read_text() + "\n# A remark.\n")
    return f"a comment in {path.name}"


def collect(soaked: Soaked) -> str:
    """gc of everything that results/ does not reach, without a grace."""
    store = Store(soaked.folder / ".store")
    try:
        remove(find_garbage(store, [soaked.folder / "results"], 0))
    except ReceiptError:
        return "gc refuses"
    return "gc"


OPERATIONS: dict[Operation, int] = {
    set_something: 8,
    set_back: 2,
    lose_a_folder: 3,
    lose_a_file: 4,
    cut_a_file: 3,
    edit_a_file: 3,
    touch: 1,
    copy: 1,
    move: 1,
    comment: 1,
    collect: 1,
}


def disturb(soaked: Soaked) -> None:
    """One operation, noted in `told`."""
    operation = soaked.random.choices([*OPERATIONS], [*OPERATIONS.values()])[0]
    soaked.told.append(operation(soaked))
