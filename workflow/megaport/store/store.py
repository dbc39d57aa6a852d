"""One store: blobs, actions, the stat cache, and room to work in.

A blob is immutable, STORE/sha256/ab/<digest>, mode 0444, verified when used.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megaport.errors import MegaportError
from megaport.store.actions import Actions, Result
from megaport.store.content import Content, StatCache
from megaport.store.disk import exclusive, make_folder, sync
from megaport.store.remote import Remote


class StoreError(MegaportError):
    """The store cannot be read, written or locked."""


@dataclass(frozen=True)
class Made:
    """What a computation says of its files: digests it took while writing, and facts it learnt."""

    digests: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Blobs:
    """The blobs of one store folder, and of read-only ones below it."""

    def __init__(self, root: Path, stats: StatCache, below: Sequence[Path] = ()) -> None:
        self.folder = root / "sha256"
        self.below = [folder / "sha256" for folder in below]
        self.stats = stats

    def path(self, digest: str) -> Path:
        """Where the blob lies, or would lie, in the store itself."""
        return self.folder / digest[:2] / digest

    def find(self, content: Content) -> Path | None:
        """The first good blob of that content, here or below: its bytes are what its name says."""
        digest = content.sha256
        for folder in (self.folder, *self.below):
            path = folder / digest[:2] / digest
            if self.stats.shows(content, path):
                return path
        return None

    def holds(self, content: Content) -> bool:
        return self.find(content) is not None

    def owns(self, content: Content) -> bool:
        """Whether the store itself holds it: its actions lean on nothing below, which may go."""
        return self.stats.shows(content, self.path(content.sha256))

    def adopt(self, path: Path, digest: str | None = None) -> Content:
        """Move a finished file of this file system into the store; a good blob is kept as it is.

        `digest` is taken on trust where the writer hashed the bytes as it wrote them.
        """
        path.chmod(0o444)
        content = Content(digest or self.stats.digest(path), path.stat().st_size)
        if self.owns(content):
            path.unlink()
            return content
        sync(path)
        blob = self.path(content.sha256)
        make_folder(blob.parent)
        path.replace(blob)
        sync(blob.parent)
        self.stats.vouch(blob, content.sha256)
        return content

    def __iter__(self) -> Iterator[Path]:
        return (path for path in sorted(self.folder.glob("??/*")) if not path.name.startswith("."))


class Store:
    """A folder that any number of processes may share; every part of it may be deleted.

    `below`: stores to read from and never write to; `remote`: one to fetch from, and send to;
    `frozen`: a lookup writes nothing.
    """

    def __init__(
        self,
        root: Path,
        below: Sequence[Path] = (),
        remote: Remote | None = None,
        *,
        frozen: bool = False,
    ) -> None:
        self.root = root.absolute()
        self.frozen = frozen
        folders = [folder.absolute() for folder in below]
        self.stats = StatCache(self.root / "stat", frozen=frozen)
        self.blobs = Blobs(self.root, self.stats, folders)
        self.actions = Actions(self.root, folders)
        self.remote = remote

    def lookup(self, key: str) -> Result | None:
        """The result of an action whose blobs are all at hand and intact; else None, a miss."""
        for result in self.actions.candidates(key):
            if all(self.blobs.holds(content) for content in result.outputs.values()):
                if not self.frozen:
                    self.actions.touch(key)
                return result
        return None

    def fetch(self, key: str) -> Result | None:
        """Bring an action's result from the remote store into this one; None where it has none."""
        result = self.remote.action(key) if self.remote else None
        if result is None or not all(map(self._bring, result.outputs.values())):
            return None
        self.actions.put(key, result)
        return result

    def send(self, key: str, result: Result) -> None:
        """Give a result to the remote store, where there is one that takes it."""
        if self.remote and self.remote.upload:
            self.remote.send(key, result, self.path_of)

    def _bring(self, content: Content) -> bool:
        if self.blobs.owns(content):
            return True
        with self.workspace() as folder:
            arrived = folder / content.sha256
            came = self.remote is not None and self.remote.download(content, arrived)
            return came and self.blobs.adopt(arrived, content.sha256) == content

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

    def locked(self, key: str) -> AbstractContextManager[None]:
        return exclusive(self.root / "locks" / key)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty folder on the store's file system, gone afterwards.

        Its lock tells a collector that somebody still works there.
        """
        folder = self.root / "tmp" / os.urandom(16).hex()
        try:
            make_folder(folder)
        except OSError as error:
            raise StoreError(
                f"store {self.root}",
                seen=f"{error.strerror} when making a work folder",
                expected="a folder this user can write to",
                remedy="Point `store:` in config.yaml to such a folder, or free some space.",
            ) from error
        lock = folder.with_suffix(".lock")
        try:
            with exclusive(lock):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)

    def path_of(self, content: Content) -> Path:
        """The verified blob. Raises StoreError where it is missing or damaged."""
        blob = self.blobs.find(content)
        if blob is None:
            raise StoreError(
                f"blob {content.sha256}",
                seen="no such blob, or bytes that do not match its name",
                expected=f"{content.size} bytes with that digest",
                remedy="Run the same command again: what is missing is found and rebuilt.",
            )
        return blob


def open_store(settings: Mapping[str, Any], *, frozen: bool = False) -> Store:
    """From the keys `store`, `store_below` (paths), `store_remote` (a URL) and `store_upload`.

    Nothing is read or contacted yet.
    """
    below = [Path(path).expanduser() for path in settings["store_below"]]
    url = settings["store_remote"]
    remote = Remote(url, upload=settings["store_upload"]) if url else None
    return Store(Path(settings["store"]).expanduser(), below, remote, frozen=frozen)
