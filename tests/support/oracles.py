"""Where the checkpoints that real Megatron code wrote lie, and what is known of each."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from support.checkout import ROOT

ORACLES = Path(os.environ.get("MEGAPORT_ORACLES", ROOT.parent / "shared" / "oracles"))
LLAMAS = Path(os.environ.get("MEGAPORT_LLAMA", ROOT.parent / "shared" / "llama"))


@dataclass(frozen=True)
class Oracle:
    name: str
    path: Path
    facts: dict[str, Any]

    @property
    def version(self) -> float | None:
        """The override the file itself cannot give (formats.md: the unversioned [np, 3, hn])."""
        return 2.0 if self.name.startswith("v1.1.4_nover_") else None

    @property
    def architecture(self) -> dict[str, int]:
        """What config would have to say: these files hold no vocabulary size and some no args."""
        return {"n_head": self.facts["heads"], "vocab_size": self.facts["vocab"]}

    def input_ids(self) -> np.ndarray:
        return np.load(self.path / "input_ids.npy")

    def logits(self) -> np.ndarray:
        """Megatron's own FP32 logits, [2, 24, vocab]."""
        return np.load(self.path / "logits.npy")[..., : self.facts["vocab"]]


def oracle_cases() -> list[Oracle]:
    """Every oracle of GPT-2's."""
    folders = folders_of(ORACLES)
    return [Oracle(p.name, p, json.loads((p / "config.json").read_text())) for p in folders]


def folders_of(root: Path) -> list[Path]:
    """Checkpoints with logits; with CI set their absence fails, elsewhere none is collected."""
    folders = sorted(p for p in root.glob("*") if (p / "logits.npy").is_file())
    if not folders and os.environ.get("CI"):
        raise FileNotFoundError(f"CI needs the oracle checkpoints under {root}")
    return folders
