"""A store elsewhere, over fsspec (`s3://`, `file://`, ...): what colleagues built is a hit here.

It holds the same two folders, sha256/ab/<digest> and actions/<key>. Blobs are verified by digest on
arrival. An action entry is taken on trust from whoever may write there, as any shared cache is.
A remote that does not answer costs a warning and never a run: the work is done here.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megaport.store.actions import Result
from megaport.store.content import Content

CHUNK = 1 << 20
# A dead remote must not hold up a run: one short try.
OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 5, "retries": {"max_attempts": 1}}},
    "file": {"auto_mkdir": True},
}

log = logging.getLogger("megaport")


class Remote:
    """One remote store. `upload`: whether what is built here goes there too."""

    def __init__(self, url: str, *, upload: bool) -> None:
        self.url = url.rstrip("/")
        self.upload = upload
        self.down = False
        self.damaged: set[str] = set()

    def action(self, key: str) -> Result | None:
        """The remote's entry of an action, or None."""
        with self._forgiving("looking for an action"):
            files = self._files()
            path = f"{self.url}/actions/{key}"
            return Result.from_bytes(files.cat_file(path)) if files.exists(path) else None
        return None

    def download(self, content: Content, target: Path) -> bool:
        """Whether the blob came and its bytes are what its name says; a partial file may stay."""
        with self._forgiving("fetching a blob"):
            files = self._files()
            total = hashlib.sha256()
            with files.open(self._blob(content), "rb") as source, target.open("wb") as out:
                while chunk := source.read(CHUNK):
                    total.update(chunk)
                    out.write(chunk)
            if total.hexdigest() == content.sha256:
                return True
            self.damaged.add(content.sha256)
            log.warning("warning: %s: blob %s is damaged there", self.url, content.sha256)
        return False

    def send(self, key: str, result: Result, find: Callable[[Content], Path]) -> None:
        """Upload an action's blobs that are not there, which `find` knows, and then its entry."""
        with self._forgiving("uploading a result"):
            files = self._files()
            for content in result.outputs.values():
                path = self._blob(content)
                present = files.exists(path) and files.size(path) == content.size
                if not present or content.sha256 in self.damaged:
                    files.put_file(str(find(content)), path)
            files.pipe_file(f"{self.url}/actions/{key}", result.to_bytes())

    def _blob(self, content: Content) -> str:
        return f"{self.url}/sha256/{content.sha256[:2]}/{content.sha256}"

    @contextmanager
    def _forgiving(self, doing: str) -> Iterator[None]:
        """What goes wrong in the block ends it with one warning.

        Backends raise exceptions of their own, of no common type but Exception.
        """
        try:
            yield
        except Exception as error:
            if not self.down:
                log.warning(
                    "warning: remote store %s: %s when %s; the work is done here",
                    *(self.url, str(error) or type(error).__name__, doing),
                )
            self.down = self.down or not isinstance(error, FileNotFoundError)

    def _files(self) -> Any:
        import fsspec  # type: ignore[import-untyped]

        if self.down:
            raise ConnectionError("it did not answer before")
        options = OPTIONS.get(self.url.partition("://")[0], {})
        return fsspec.core.url_to_fs(self.url, **options)[0]
