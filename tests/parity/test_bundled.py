"""The assembled bundled model, through all of parity."""

from pathlib import Path

from support.parity_mistakes import examined, named
from support.subjects import TEXT, assembled, read_bundled


def test_the_bundled_model_passes_every_check_that_applies(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT.read_text(encoding="utf-8")[:2400], encoding="utf-8")
    subject = read_bundled(tmp_path)
    report = examined(subject, assembled(subject, tmp_path), text=text, dtypes=("bfloat16",))
    found = {verdict.name: verdict.outcome for verdict in report.verdicts}
    assert found.pop("published logits") == "not applicable"
    assert set(found.values()) == {"passed"} and len(found) == 10
    assert 30 < named(report, "perplexity").measures[0].seen < 120
