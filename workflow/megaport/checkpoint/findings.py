"""One error for everything that is wrong with a checkpoint, rather than the first thing."""

from dataclasses import dataclass, field

from megaport.errors import MegaportError


class CheckpointMismatchError(MegaportError):
    """Tensors missing, extra, of a wrong shape or dtype, or unlike between ranks: all of them."""


@dataclass
class Findings:
    """Collects findings about the checkpoint called `source`, then raises them together."""

    source: str
    found: list[str] = field(default_factory=list)

    def report(self, kind: str, name: str, detail: str = "") -> None:
        """Note that `name` is `kind` (missing, extra, wrong shape, ...) with what was seen."""
        self.found.append(f"{kind}: {name}" + (f" ({detail})" if detail else ""))

    def settle(self) -> None:
        """Raise `CheckpointMismatchError` with every finding in order, if there is any."""
        if self.found:
            raise CheckpointMismatchError(
                self.source,
                seen="\n  " + "\n  ".join(self.found) + "\n",
                expected="the files of one save of one model, each in its place",
                remedy="Get the whole checkpoint again, or use one that was saved complete.",
            )
