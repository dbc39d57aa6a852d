"""One store: blobs, actions, the stat cache, and room to work in."""

import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megaport.store.actions import Actions, Result
from megaport.store.blobs import Blobs, Content
from megaport.store.errors import StoreError
from megaport.store.locks import exclusive
from megaport.store.stat_cache import StatCache


@dataclass(frozen=True)
class Made:
    """What a computation says of its files: digests it took while writing, and facts it learnt."""

    digests: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Store:
    """A folder that any number of processes may share; every part of it may be deleted."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.stats = StatCache(self.root / "stat")
        self.blobs = Blobs(self.root, self.stats)
        self.actions = Actions(self.root)

    def lookup(self, key: str) -> Result | None:
        """The result of an action whose blobs are all here and intact; else None, a miss."""
        result = self.actions.get(key)
        if result and all(self.blobs.holds(content) for content in result.outputs.values()):
            return result
        return None

    def record(
        self,
        key: str,
        files: Mapping[str, Path],
        made: Made,
        cost: Mapping[str, Any],
    ) -> Result:
        """Adopt finished files (name -> path in this store's workspace), then write the action."""
        outputs = {
            name: self.blobs.adopt(path, made.digests.get(name))
            for name, path in sorted(files.items())
        }
        result = Result(outputs, made.facts, cost)
        self.actions.put(key, result)
        return result

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        with exclusive(self.root / "locks" / key):
            yield

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty folder on the store's file system, gone afterwards.

        Its lock tells a collector that somebody still works there.
        """
        folder = self.root / "tmp" / uuid.uuid4().hex
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise StoreError(
                f"store {self.root}",
                seen=f"{error.strerror} when making a work folder",
                expected="a folder this user can write to",
                remedy="Point `store:` in config.yaml to such a folder, or free some space.",
            ) from error
        with exclusive(folder.with_suffix(".lock")):
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                folder.with_suffix(".lock").unlink(missing_ok=True)

    def path_of(self, content: Content) -> Path:
        """The verified blob. Raises StoreError where it is missing or damaged."""
        if not self.blobs.holds(content):
            raise StoreError(
                f"blob {content.sha256}",
                seen="no such blob, or bytes that do not match its name",
                expected=f"{content.size} bytes with that digest",
                remedy="Run the same command again: what is missing is found and rebuilt.",
            )
        return self.blobs.path(content.sha256)
