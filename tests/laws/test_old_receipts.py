"""Row "receipts from an older format version": the rule's own is made again from the store."""

import json

import pytest

from support.checkout import MODEL, content
from support.samples import slow
from support.stores import collect

RECEIPT = MODEL / "convert.json"


@pytest.mark.parametrize("version", [0, slow(None)], ids=["older", "before there were versions"])
def test_a_receipt_of_an_older_format_version_is_replaced(snakemake, built, version):
    before = content(built)
    receipt = json.loads((built / RECEIPT).read_text())
    old = {"rule": receipt["rule"], "key": receipt["action"], "outputs": []}
    given = old if version is None else {**old, "schema": version}
    (built / RECEIPT).write_text(json.dumps(given))
    ran = snakemake(built, "assemble")
    assert (ran.nothing, ran.hits) == (True, {"convert"}), ran.text
    assert content(built) == before


def test_collection_stops_at_a_receipt_of_an_older_format_version(built, capsys):
    """What it reaches is not known: nothing may go."""
    (built / RECEIPT).write_text(json.dumps({"schema": 0}))
    stored = sorted((built / ".store").rglob("*"))
    assert collect(built / ".store", built / "results") == 1
    assert "receipt format 0" in capsys.readouterr().err
    assert sorted((built / ".store").rglob("*")) == stored
