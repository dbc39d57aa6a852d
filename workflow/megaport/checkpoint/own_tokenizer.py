"""The tokenizer that a NeMo archive brings along, where it is a byte-level BPE as GPT-2's."""

from pathlib import Path

from megaport.checkpoint.files import open_files

NAMES = ("vocab.json", "merges.txt")  # NeMo puts digits and what it was called before them
_MOST_BYTES = 1 << 26


def own_tokenizer(path: Path, *, spool: Path) -> dict[str, bytes]:
    """vocab.json and merges.txt of the checkpoint at `path`; {} where it has not one of each.

    Raises as `open_checkpoint` for files that cannot be opened.
    """
    facts = open_files(path, spool=spool).facts
    found: dict[str, bytes] = {}
    for name in NAMES:
        regions = [region for said, region in facts.items() if said.endswith(name)]
        if len(regions) != 1 or regions[0].size > _MOST_BYTES:
            return {}
        found[name] = bytes(regions[0].view)
    return found
