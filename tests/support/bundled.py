"""The bundled checkpoint as the model directory that people hand to other tools."""

from pathlib import Path

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.inspect import inspection
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.model_dir import assemble_model
from megaport.convert.tokenizer import PUBLISHED, TokenizerFiles
from megaport.parity.reference import Reference
from megaport.parity.references import reference_of
from support.checkout import ROOT
from support.parity_models import convert

RESOURCES = ROOT / "resources"
BUNDLED = RESOURCES / "austen-tiny" / "megatron_austen_tiny_v0.0.zip"
SAID = {"n_head": 4, "vocab_size": 50257, "activation_function": "gelu_new"}


def read_bundled(spool: Path) -> Reference:
    checkpoint = open_checkpoint(BUNDLED, spool=spool)
    return reference_of(checkpoint, describe_architecture(checkpoint, SAID))


def bundled_model(folder: Path) -> Path:
    """Convert and assemble it in `folder`, as the workflow does; the path of its `model/`."""
    subject = read_bundled(folder)
    assemble_model(
        convert(subject, folder / "converted"),
        folder / "model",
        tokenizer=TokenizerFiles(RESOURCES / "gpt2", PUBLISHED),
        provenance={
            "name": "austen-tiny",
            "content": "0" * 64,
            "inspection": inspection(subject.checkpoint, subject.architecture),
        },
    )
    return folder / "model"


def lines_of_text(count: int) -> list[str]:
    """The first long lines of the text that parity measures on: Jane Austen's, held out, cut to
    what the bundled model's 256 positions hold."""
    text = (RESOURCES / "parity" / "text.txt").read_text(encoding="utf-8")
    return [line[:600] for line in text.splitlines() if len(line) > 40][:count]
