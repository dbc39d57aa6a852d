"""The store that config.yaml describes: a personal one, read-only ones below it, a remote one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megaport.store.remote import Remote
from megaport.store.store import Store


def open_store(settings: Mapping[str, Any]) -> Store:
    """From the keys `store`, `store_below` (paths), `store_remote` (a URL) and `store_upload`.

    Nothing is read or contacted yet.
    """
    below = [Path(path).expanduser() for path in settings["store_below"]]
    url = settings["store_remote"]
    remote = Remote(url, upload=settings["store_upload"]) if url else None
    return Store(Path(settings["store"]).expanduser(), below, remote)
