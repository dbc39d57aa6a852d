"""The assembled bundled model, through all of parity."""

from dataclasses import replace
from pathlib import Path

import pytest

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.inspect import inspection
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.model_dir import assemble_model
from megaport.convert.tokenizer import PUBLISHED, TokenizerFiles
from megaport.parity.parity import examine
from megaport.parity.reference import Reference
from megaport.parity.references import reference_of
from support.parity_models import OPTIONS, ROOT, TEXT, convert

BUNDLED = ROOT / "resources" / "austen-tiny" / "megatron_austen_tiny_v0.0.zip"


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    checkpoint = open_checkpoint(BUNDLED, spool=tmp_path_factory.mktemp("spool"))
    said = {"n_head": 4, "vocab_size": 50257, "activation_function": "gelu_new"}
    return reference_of(checkpoint, describe_architecture(checkpoint, said))


@pytest.fixture(scope="module")
def model_dir(bundled: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("bundled")
    provenance = {
        "name": "austen-tiny",
        "content": "0" * 64,
        "inspection": inspection(bundled.checkpoint, bundled.architecture),
    }
    tokenizer = TokenizerFiles(ROOT / "resources" / "gpt2", PUBLISHED)
    converted = convert(bundled, work / "converted")
    assemble_model(converted, work / "model", tokenizer=tokenizer, provenance=provenance)
    return work / "model"


def test_the_bundled_model_passes_every_check_that_applies(
    bundled: Reference, model_dir: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT.read_text(encoding="utf-8")[:2400], encoding="utf-8")
    options = replace(OPTIONS, text=text, dtypes=("bfloat16",))
    report = examine(bundled.checkpoint, bundled.architecture, model_dir, options)
    found = {verdict.name: verdict.outcome for verdict in report.verdicts}
    assert found.pop("published logits") == "not applicable"
    assert set(found.values()) == {"passed"} and len(found) == 10
    perplexity = next(verdict for verdict in report.verdicts if verdict.name == "perplexity")
    assert 30 < perplexity.measures[0].seen < 120
