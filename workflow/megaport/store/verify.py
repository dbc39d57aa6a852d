"""Re-hash a whole store: every blob against its name, every action against its blobs."""

from dataclasses import dataclass

from megaport.store.stat_cache import sha256_file
from megaport.store.store import Store


@dataclass(frozen=True)
class Findings:
    """`damaged`: blobs whose bytes are not their name; `dangling`: actions that name a blob that is
    missing or damaged, or whose entry cannot be read. Both are misses: the next run rebuilds."""

    blobs: int
    actions: int
    damaged: list[str]
    dangling: list[str]

    @property
    def clean(self) -> bool:
        return not self.damaged and not self.dangling


def verify(store: Store) -> Findings:
    """Reads every byte of the store; trusts no remembered digest."""
    sound = {path.name: sha256_file(path) == path.name for path in store.blobs}
    good = {digest for digest, holds in sound.items() if holds}
    damaged = sorted(set(sound) - good)
    dangling = []
    keys = list(store.actions)
    for key in keys:
        result = store.actions.get(key)
        wanted = {content.sha256 for content in result.outputs.values()} if result else {None}
        if not wanted <= good:
            dangling.append(key)
    return Findings(len(sound), len(keys), damaged, dangling)
