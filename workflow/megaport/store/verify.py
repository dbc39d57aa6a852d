"""Re-hash a whole store: every blob against its name, every action against its blobs."""

from dataclasses import dataclass
from pathlib import Path

from megaport.store.stat_cache import sha256_file
from megaport.store.store import Store


@dataclass(frozen=True)
class Damage:
    """`damaged`: blobs that cannot be read or whose bytes are not their name; `dangling`: actions
    that name one of these or a missing one, or whose entry cannot be read. All are misses: the next
    run rebuilds."""

    blobs: int
    actions: int
    damaged: list[str]
    dangling: list[str]

    @property
    def clean(self) -> bool:
        return not self.damaged and not self.dangling


def verify(store: Store) -> Damage:
    """Reads every byte of the store; trusts no remembered digest."""
    sound = {path.name: _holds(path) for path in store.blobs}
    good = {digest for digest, holds in sound.items() if holds}
    damaged = sorted(set(sound) - good)
    dangling = []
    keys = list(store.actions)
    for key in keys:
        result = store.actions.get(key)
        wanted = {content.sha256 for content in result.outputs.values()} if result else {None}
        if not wanted <= good:
            dangling.append(key)
    return Damage(len(sound), len(keys), damaged, dangling)


def _holds(blob: Path) -> bool:
    try:
        return sha256_file(blob) == blob.name
    except OSError:
        return False
