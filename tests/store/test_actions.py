"""Action entries: written once, read with suspicion."""

import json

import pytest

from megaport.store.actions import Result
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
