"""What the store remembers of code, and what happens when that is wrong; names and places."""

import os

import pytest

from megaport.store.blobs import Content
from megaport.store.sources import Sources
from megaport.store.store import Made, Store
from megaport.store.tool import main


@pytest.fixture
def module(tmp_path):
    """A Python file old enough to be remembered."""
    path = tmp_path / "module.py"
    path.write_text("import numpy\n")
    return path


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    monkeypatch.setattr("megaport.store.sources.RACY_NS", -1)


def known_to(file) -> Sources:
    sources = Sources()
    sources.remember_in(file)
    return sources


def test_what_one_process_learnt_the_next_one_need_not_parse(tmp_path, module, monkeypatch):
    first = known_to(tmp_path / "code.json")
    found = first.of(module)
    first.save()
    monkeypatch.setattr("ast.parse", lambda *_, **__: pytest.fail("parsed again"))
    assert known_to(tmp_path / "code.json").of(module) == found


def test_what_taught_nothing_is_not_written_down(tmp_path, module):
    known_to(tmp_path / "code.json").save()
    Sources().of(module)
    assert not (tmp_path / "code.json").exists()


def test_what_is_written_down_is_kept_as_it_is_until_something_new_is_learnt(tmp_path, module):
    sources = known_to(tmp_path / "code.json")
    sources.of(module)
    sources.save()
    before = (tmp_path / "code.json").stat()
    sources.of(module)
    sources.save()
    assert (tmp_path / "code.json").stat().st_ino == before.st_ino


def test_a_file_so_young_that_its_times_may_lie_is_not_remembered(tmp_path, module, monkeypatch):
    monkeypatch.setattr("megaport.store.sources.RACY_NS", 10**13)
    sources = known_to(tmp_path / "code.json")
    sources.of(module)
    sources.save()
    assert not (tmp_path / "code.json").exists()


def test_an_edited_file_is_parsed_again(tmp_path, module):
    first = known_to(tmp_path / "code.json")
    before = first.of(module)
    first.save()
    module.write_text("import scipy\n")
    after = known_to(tmp_path / "code.json").of(module)
    assert after.tree != before.tree and after.imports == ((0, "scipy", ()),)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"x": 1}', '{"x": ["tree", [[0]]]}'])
def test_a_damaged_memory_counts_as_empty(tmp_path, module, damage):
    (tmp_path / "code.json").write_text(damage)
    assert known_to(tmp_path / "code.json").of(module).imports == ((0, "numpy", ()),)


def test_a_store_that_takes_nothing_is_no_harm(tmp_path, module):
    (tmp_path / "code.json").mkdir()
    sources = known_to(tmp_path / "code.json")
    assert sources.of(module).imports
    sources.save()


@pytest.mark.parametrize("digest", ["", "../../outside", "A" * 64, "a" * 63])
def test_a_digest_that_is_none_becomes_no_path(digest):
    with pytest.raises(ValueError, match="is no SHA-256"):
        Content.from_json({"sha256": digest, "size": 1})


def test_a_group_s_folder_that_another_process_makes_meanwhile_is_taken(tmp_path, monkeypatch):
    tmp_path.chmod(0o2775)
    store = Store(tmp_path / "store")
    rename = os.rename

    def late(source, target, **named):
        if str(target) == str(store.root):
            (store.root / "theirs").mkdir(parents=True)
        return rename(source, target, **named)

    monkeypatch.setattr(os, "rename", late)
    with store.workspace() as folder:
        (folder / "x").write_bytes(b"x")
        store.record("k", {"x": folder / "x"}, Made(), {})
    assert store.lookup("k") and (store.root / "theirs").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_there_is_no_store_where_there_is_none(tmp_path):
    with pytest.raises(SystemExit, match="no store at"):
        main(["verify", str(tmp_path / "nowhere")])
