"""What the store remembers of code and packages, and what happens when that is wrong; locks."""

import os
import sys

import pytest

from megaport.store import software
from megaport.store.blobs import Content
from megaport.store.locks import exclusive, is_held
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


def test_versions_are_those_of_the_first_installed(tmp_path, monkeypatch):
    for place, version in (("near", "2.0"), ("far", "1.0")):
        (tmp_path / place / f"Some_Package-{version}.dist-info").mkdir(parents=True)
    egg = tmp_path / "near" / "Old.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: Old\nVersion: 3.0\n")
    path = [str(tmp_path / "near"), str(tmp_path / "far"), str(tmp_path / "nowhere")]
    monkeypatch.setattr(sys, "path", path)
    software._installed.cache_clear()
    try:
        found = software.versions(["some-package", "Old", "nobody", "tqdm"])
    finally:
        software._installed.cache_clear()
    assert found == {"some-package": "2.0", "Old": "3.0", "nobody": "absent"}


def test_a_package_brings_those_that_matter_as_much():
    assert set(software.versions(["transformers"])) == {"transformers", "tokenizers", "safetensors"}


def test_a_lock_is_held_or_not(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    assert not is_held(path)
    with exclusive(path):
        assert is_held(path)
    assert not is_held(path)


def test_another_user_s_lock_that_may_only_be_read_still_locks(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    path.touch()
    opened = type(path).open

    def read_only(self, mode="r", *rest, **named):
        if self == path and "a" in mode:
            raise PermissionError(13, "Permission denied")
        return opened(self, mode, *rest, **named)

    monkeypatch.setattr(type(path), "open", read_only)
    with exclusive(path):
        assert is_held(path)


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
