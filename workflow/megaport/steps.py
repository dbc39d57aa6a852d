"""THE table of rules: what each step reads, its parameters, the files it names, its code, where it
runs and what it asks for.

Keys, what is outdated, what is restored, a cluster's requests and the README's table come from
here; workflow/rules/ declares the same steps to Snakemake, and a test holds the two together.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from megaport.parameters import (
    Given,
    Parameters,
    of_assemble,
    of_convert,
    of_download,
    of_generate,
    of_inspect,
    of_parity,
)
from megaport.store.actions import Receipt
from megaport.store.content import Files, files_from_json

Part = Callable[[Receipt], Files]
TORCH = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
PAGE = "workflow/report/page.html.j2"


@dataclass(frozen=True)
class Need:
    """What a job asks a cluster for, a straight line over megabytes of content: `memory_mb` and
    `seconds` at zero, and per MB. Two to three times what was seen (docs/use/scaling.md): a job
    that is killed for a megabyte or a minute costs more than room that stays empty."""

    memory_mb: float
    memory_per_mb: float
    seconds: float
    seconds_per_mb: float

    def memory(self, receipts: Iterable[Path], attempt: int) -> int:
        """Megabytes; every further attempt asks for as much again. Raises as content_mb."""
        return attempt * round(self.memory_mb + self.memory_per_mb * content_mb(receipts))

    def minutes(self, receipts: Iterable[Path], attempt: int) -> int:
        """Minutes, rounded up; a further attempt asks for as many again. Raises as content_mb."""
        seconds = self.seconds + self.seconds_per_mb * content_mb(receipts)
        return attempt * (int(seconds // 60) + 1)


def content_mb(receipts: Iterable[Path]) -> float:
    """Megabytes of what the largest of the steps behind `receipts` made or found.

    Raises FileNotFoundError for a receipt that is not there yet: Snakemake then asks again later.
    """
    return max(map(_bytes, receipts)) / 1_000_000


def _bytes(receipt: Path) -> int:
    told = json.loads(receipt.read_text(encoding="utf-8"))
    found = told["outputs"] or told["facts"].get("members") or told["facts"].get("files") or {}
    return sum(content["size"] for content in found.values())


MOVES_BYTES = Need(1000, 1.5, 120, 0.1)
RUNS_TORCH = Need(2500, 6, 600, 2)


@dataclass(frozen=True)
class Step:
    """One row. `reads`: by earlier step, the part of it that the result depends on; `files`: globs
    of what the step names below results/<model>/; `code`: folders and files of workflow/megaport/
    whose bytes compute it; `software`: packages that can change the result, in the action key of a
    step that does not only move bytes; `way`: how files are named (None: as `materialize` says)."""

    name: str
    summary: str
    reads: Mapping[str, Part]
    parameters: Callable[[Given], Parameters]
    files: tuple[str, ...]
    code: tuple[str, ...]
    software: tuple[str, ...] = ()
    way: str | None = "symlink"
    need: Need = MOVES_BYTES
    asked_for: bool = False  # not part of `all`

    @property
    def moves_bytes(self) -> bool:
        """Its key is the same everywhere, so that a known result needs no job."""
        return not self.software


def members(checksum: Receipt) -> Files:
    """The checkpoint's members by content."""
    return files_from_json(checksum.facts["members"])


def fetched(download: Receipt) -> Files:
    return files_from_json(download.facts["files"])


def nothing(earlier: Receipt) -> Files:
    """Nothing of it: an earlier step that must have found nothing wrong."""
    return {}


def outputs(*prefixes: str) -> Part:
    """The files an earlier step made whose names start with one of `prefixes`."""
    return lambda receipt: {n: c for n, c in receipt.outputs.items() if n.startswith(prefixes)}


def loadable(assemble: Receipt) -> Files:
    """What tools load of model/: not its card and digests, whose words change no result."""
    unread = ("model/README.md", "model/SHA256SUMS")
    return {name: c for name, c in assemble.outputs.items() if name not in unread}


READER = (
    "checkpoint",
    "decide.py",
    "gpt2.py",
    "llama.py",
    "llama_numbers.py",
    "sizes.py",
    "table.py",
    "tensors.py",
)
STEPS = {
    step.name: step
    for step in (
        Step(
            "download",
            "the bytes: fetched into the store, or a local file where it lies",
            reads={},
            parameters=of_download,
            files=(),
            code=(),  # bytes are what their digest says, whoever fetched them
        ),
        Step(
            "checksum",
            "SHA-256 of every file; the pinned digest enforced",
            reads={"download": fetched},
            parameters=lambda given: {"sha256": given.model.checkpoint.sha256},
            files=(),
            code=READER,
        ),
        Step(
            "inspect",
            "what the checkpoint is, and every decision made",
            reads={"checksum": members},
            parameters=of_inspect,
            files=("inspection/*", "inspection/tokenizer/*"),
            code=("convert/tokenizer.py", "generate/fit.py", "generate/prompts.py", *READER),
        ),
        Step(
            "convert",
            "the tensors, moved byte by byte",
            reads={"checksum": members, "inspect": nothing},
            parameters=of_convert,
            files=("converted/config.json", "converted/*.safetensors*"),
            code=("convert", *READER),
        ),
        Step(
            "pytorch_bin",
            "for tools that still ask for it",
            reads={"convert": outputs("converted/")},
            parameters=lambda given: {},
            files=("converted/pytorch_model.bin",),
            code=("convert", *READER),
        ),
        Step(
            "assemble",
            "what `AutoModelForCausalLM`, `AutoTokenizer`, `pipeline`, Trainer take",
            reads={
                "checksum": members,
                "inspect": outputs("inspection/inspection.json", "inspection/tokenizer/"),
                "convert": outputs("converted/"),
            },
            parameters=of_assemble,
            files=("model/*",),
            code=("convert", *READER),
            way=None,
        ),
        Step(
            "generate",
            "text for every prompt of config.yaml",
            reads={"assemble": loadable},
            parameters=of_generate,
            files=("generations.*",),
            code=("generate",),
            software=TORCH,
            need=RUNS_TORCH,
        ),
        Step(
            "benchmark",
            "tokens/s of every engine against what the memory allows",
            reads={"assemble": loadable},
            parameters=lambda given: given.config.benchmark.model_dump(mode="json"),
            files=("benchmark/*",),
            code=("benchmark", "generate", "figures.py"),
            software=(*TORCH, "llama_cpp", "gguf", "matplotlib"),
            need=RUNS_TORCH,
        ),
        Step(
            "parity",
            "proof that it is the same model, or where it is not",
            reads={"checksum": members, "assemble": loadable},
            parameters=of_parity,
            files=("parity/*", "run/parity-failed/*"),
            code=("parity", "generate", "figures.py", *READER),
            software=(*TORCH, "matplotlib"),
            need=Need(2500, 12, 600, 6),
        ),
        Step(
            "export",
            "the way back: a Megatron checkpoint (not part of `all`)",
            reads={"assemble": outputs("model/config.json", "model/model")},
            parameters=lambda given: {"name": given.name} | given.config.export.model_dump(),
            files=("export/**/*", "export/*"),
            code=("convert", *READER),
            asked_for=True,
        ),
    )
}
# The page over all models: one job for all of them, of what these steps made.
SHOWN = ("checksum", "inspect", "assemble", "generate", "benchmark", "parity")
REPORT = Step(
    "report",
    "all of it on one page",
    reads={},
    parameters=lambda given: {"models": given.config.names, "template": given.digest(PAGE)},
    files=("report.html",),
    code=("report",),
    way="auto",
)
ROWS = STEPS | {REPORT.name: REPORT}
BUILT = tuple(step.name for step in STEPS.values() if not step.asked_for)


def find(path: str, folders: list[Path]) -> Path:
    """An absolute path as it is; a relative one below the first of `folders` that has it."""
    candidates = [folder / Path(path).expanduser() for folder in folders]
    return next((candidate for candidate in candidates if candidate.exists()), candidates[0])
