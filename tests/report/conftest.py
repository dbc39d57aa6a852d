"""A model as its steps would have left it."""

import json
from pathlib import Path

import pytest

from megaport.figures import draw
from megaport.parity.report import ParityReport
from megaport.parity.verdict import at_most, equal, judge, told
from megaport.report.model import found
from megaport.store.actions import Action, Receipt
from megaport.store.content import Content
from support.checkout import ROOT
from support.places import can_judge_pages

TEMPLATE = ROOT / "workflow" / "report" / "page.html.j2"
collect_ignore = [] if can_judge_pages() else ["test_browser.py"]

ARCHITECTURE = {
    "model_type": "qwen3",
    "n_group": 3,
    "n_layer": 4,
    "n_head": 5,
    "n_embd": 160,
    "n_positions": 256,
    "vocab_size": 50257,
}
TOKENIZER = "tokenizer_config.json"
DECISIONS = [
    {"subject": "n_head", "value": 5, "reason": "<config>", "override": "n_head"},
    {"subject": "qkv_order", "value": "3,np,hn", "reason": "BEWARE: 2020", "override": "version"},
]
RATE = {"median": 1234.5, "low": 1200.0, "high": 1300.0}
ROW = {
    "engine": "fast",
    "dtype": "float32",
    "workload": "card",
    "batch": 1,
    "prompt": 1,
    "status": "measured",
    "decode_tokens_per_s": RATE,
    "first_token_s": {"median": 0.0125},
    "achieved_bytes_per_s": {"median": 5e9},
}
FAILED_ROW = {key: ROW[key] for key in ("engine", "dtype", "workload", "batch", "prompt")}
BENCHMARK = {
    "summary": "device cpu: fast is fastest.",
    "fastest": ROW,
    "copy_bytes_per_s": {"median": 1e10},
    "rows": [ROW, {**FAILED_ROW, "status": "crashed", "reason": "killed by <SIGSEGV>"}],
}
TEXT = {"prompt": None, "text": "It is <b>so</b>.", "settings": {"seed": 7}, "token_ids": [1]}


def parity(difference: float) -> ParityReport:
    """One check with a limit of 2, and one that only tells."""
    perplexity = [told("perplexity of the converted model", 68.4, "")]
    logits = [at_most("largest", difference, 2.0, "nats")]
    return ParityReport(
        "cpu",
        (
            judge("config", "Same sizes?", [equal("n_layer", 4, 4)], reason="sizes"),
            judge("logits", "Same?", logits, reason="eight times", note="layer 2 is wrong"),
            judge("perplexity", "Likely?", perplexity, reason=""),
        ),
    )


class Folder:
    """results/<name>/, to which steps are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, step: str, files: dict[str, str], facts: dict | None = None) -> None:
        """The outputs of `step`, its receipt and its cost."""
        for name, text in files.items():
            self.write(name, text)
        action = Action(step, {}, {"seed": 11}, "code", {"torch": "2.13.0"})
        contents = {name: Content("ab" * 32, len(text)) for name, text in files.items()}
        Receipt(action, contents, facts or {}).write(self.folder / f"{step}.json")
        cost = {"wall_seconds": 1.5, "peak_rss_bytes": 2**21, "started": "2026-11-27T12:00:00Z"}
        self.write(f"run/{step}.json", json.dumps({"built": cost}))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def model(tmp_path):
    """Makes the facts of a model called `name` whose parity saw `difference`, at most 2 allowed;
    None: parity did not run."""

    def make(name: str = "austen", difference: float | None = 0.5):
        made = Folder(tmp_path / "results" / name)
        checkpoint = {"family": "legacy_ranks", "iteration": None}
        inspection = {"checkpoint": checkpoint, "architecture": ARCHITECTURE}
        inspection |= {"parameters": 1234567, "decisions": DECISIONS}
        made.add("checksum", {}, {"members": {"checkpoint": {"sha256": "ef" * 32}}})
        made.add("inspect", {"inspection/inspection.json": json.dumps(inspection)})
        digests = "".join(f"{'ab' * 32}  {file}\n" for file in ("config.json", TOKENIZER))
        made.add("assemble", {"model/SHA256SUMS": digests})
        made.add("generate", {"generations.jsonl": json.dumps(TEXT) + "\n"})
        made.add("benchmark", {"benchmark/benchmark.json": json.dumps(BENCHMARK)})
        if difference is not None:
            report = parity(difference)
            told = {"parity/parity.json": json.dumps(report.plain())}
            draw(tmp_path / "layers.svg", "Every layer agrees", lambda axes: None)
            told["parity/layers.svg"] = (tmp_path / "layers.svg").read_text()
            if report.failed:
                for file, text in told.items():
                    made.write(f"run/parity-failed/{Path(file).name}", text)
            else:
                made.add("parity", told)
        return found(name, made.folder)

    return make
