"""Action entries, written once and read with suspicion; receipts, there and back."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from megaport.store.actions import Receipt, ReceiptError, Result, read_receipt
from megaport.store.content import Content
from support.stores import ACTION, build

CONTENT = Content("a" * 64, 1)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../outside", "model/../../outside", "", "."], ids=repr
)
def test_a_name_that_leads_out_of_its_folder_makes_an_entry_a_miss(name):
    assert Result.from_bytes(Result({name: CONTENT}).to_bytes()) is None


def test_an_entry_of_another_format_is_a_miss():
    entry = Result({"model/a": CONTENT}, {"fact": 1}, {"wall_seconds": 1})
    assert Result.from_bytes(entry.to_bytes()) == entry
    told = json.loads(entry.to_bytes()) | {"schema": 2}
    assert Result.from_bytes(json.dumps(told).encode()) is None


def test_an_entry_is_read_only_and_keeps_what_building_cost(store):
    build(store)
    assert store.actions.path(ACTION.key).stat().st_mode & 0o777 == 0o444
    assert store.lookup(ACTION.key).cost == {"wall_seconds": 1}


def test_what_a_writer_left_half_done_is_no_entry_and_no_blob(store):
    content = build(store).outputs["out.txt"]
    for folder in (store.actions.folder, store.blobs.path(content.sha256).parent):
        (folder / ".half.1.00000000.tmp").touch()
    assert list(store.actions) == [ACTION.key]
    assert list(store.blobs) == [store.blobs.path(content.sha256)]


REST = (
    "; expected a receipt of format 1. "
    "Delete the file and run the same command again: it is rebuilt from the store."
)


def test_a_receipt_is_sorted_indented_json_of_everything(store, tmp_path):
    """Byte for byte: Snakemake compares receipts by content, and people read them."""
    result = build(store)
    action = replace(ACTION, parameters={"title": "Emma, à moi"})
    Receipt(action, result.outputs, result.facts).write(tmp_path / "r.json")
    told = {
        "action": action.key,
        "code": "code",
        "facts": {"n": 1},
        "inputs": {"in": {"x": {"sha256": "a" * 64, "size": 1}}},
        "outputs": {"out.txt": {"sha256": sha256(b"hello").hexdigest(), "size": 5}},
        "parameters": {"title": "Emma, à moi"},
        "rule": "convert",
        "schema": 1,
        "software": {"numpy": "2"},
    }
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    assert (tmp_path / "r.json").read_bytes() == text.encode()
    assert read_receipt(tmp_path / "r.json").text == text.encode()


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        *((text, "a damaged receipt (") for text in ("", "{", "[]", "null", '{"schema": 1}')),
        ('{"schema": 99}', f"receipt format 99{REST}"),
    ],
)
def test_a_damaged_receipt_or_one_of_another_format_is_refused_with_a_remedy(tmp_path, text, seen):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ReceiptError) as refused:
        read_receipt(path)
    said = str(refused.value)
    assert said.startswith(f"receipt {path}: found {seen}") and said.endswith(REST)


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (FileNotFoundError(2, "No such file or directory"), "No such file or directory"),
        (OSError("no number"), "an unreadable file"),
    ],
)
def test_a_receipt_that_cannot_be_read_says_why(tmp_path, monkeypatch, error, seen):
    path = tmp_path / "r.json"
    monkeypatch.setattr(type(path), "read_bytes", raising(error))
    with pytest.raises(ReceiptError) as refused:
        read_receipt(path)
    assert str(refused.value) == f"receipt {path}: found {seen}{REST}"


def raising(error):
    def call(*_):
        raise error

    return call
