"""The store alone: blobs, actions, receipts, names, and what happens when somebody harms them."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from megaport.store.actions import Action
from megaport.store.content import Content
from megaport.store.names import publish
from megaport.store.store import Made, Store, StoreError
from support.stores import ACTION, build, rot


def test_a_harmed_blob_is_not_given_out(store):
    content = build(store).outputs["out.txt"]
    rot(store.blobs.path(content.sha256), b"jello")
    with pytest.raises(StoreError) as refused:
        store.path_of(content)
    assert str(refused.value) == (
        f"blob {content.sha256}: found no such blob, or bytes that do not match its name; "
        "expected 5 bytes with that digest. "
        "Run the same command again: what is missing is found and rebuilt."
    )


def test_the_digest_a_writer_took_is_not_taken_again(store, monkeypatch):
    monkeypatch.setattr("megaport.store.content.sha256_file", lambda path: pytest.fail("read"))
    digest = hashlib.sha256(b"hello").hexdigest()
    with store.workspace() as folder:
        (folder / "out").write_bytes(b"hello")
        result = store.record("key", {"out": folder / "out"}, Made({"out": digest}), {})
    assert result.outputs == {"out": Content(digest, 5)}


@pytest.mark.parametrize(
    "change",
    [
        {"rule": "other"},
        {"parameters": {"p": 2}},
        {"code": "other"},
        {"software": {"numpy": "3"}},
        {"inputs": {"in": {"x": Content("b" * 64, 1)}}},
        {"inputs": {"in": {"y": Content("a" * 64, 1)}}},
    ],
)
def test_action_key_covers_everything_that_may_matter(change):
    assert replace(ACTION, **change).key != ACTION.key


def test_action_key_ignores_order(store):
    other = Action("convert", ACTION.inputs, {"p": 1}, "code", {"numpy": "2"})
    assert other.key == ACTION.key


@pytest.mark.parametrize("way", ["auto", "copy", "hardlink", "symlink"])
def test_publish_shows_the_content_and_replaces_what_was_there(store, tmp_path, way):
    content = build(store).outputs["out.txt"]
    name = tmp_path / "results" / "out.txt"
    name.parent.mkdir()
    name.write_bytes(b"old")
    publish(store, content, name, way)
    assert name.read_bytes() == b"hello"
    assert name.is_symlink() == (way == "symlink")
    assert [p.name for p in name.parent.iterdir()] == ["out.txt"]


def test_writing_to_a_copy_leaves_the_store_alone(store, tmp_path):
    content = build(store).outputs["out.txt"]
    publish(store, content, tmp_path / "model.txt", "auto")
    (tmp_path / "model.txt").write_bytes(b"edited")
    assert store.path_of(content).read_bytes() == b"hello"


def test_links_inside_a_checkout_are_relative_so_that_it_can_move(tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    monkeypatch.chdir(checkout)
    store = Store(checkout / ".store")
    content = build(store).outputs["out.txt"]
    publish(store, content, checkout / "results" / "out.txt")
    monkeypatch.chdir(tmp_path)
    checkout.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "results" / "out.txt").read_bytes() == b"hello"


def test_results_may_be_a_link_to_another_disk(tmp_path, monkeypatch, other_file_system):
    (tmp_path / "results").symlink_to(other_file_system)
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / ".store")
    content = build(store).outputs["out.txt"]
    publish(store, content, Path("results") / "model" / "out.txt")
    assert (other_file_system / "model" / "out.txt").read_bytes() == b"hello"


def test_links_out_of_a_checkout_are_absolute(tmp_path, monkeypatch):
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    store = Store(tmp_path / "shared")
    content = build(store).outputs["out.txt"]
    for name in (Path("results/out.txt"), tmp_path / "elsewhere" / "out.txt"):
        publish(store, content, name)
        assert name.readlink() == store.path_of(content)
    publish(Store(Path(".store")), build(Store(Path(".store"))).outputs["out.txt"], name)
    assert name.readlink().is_absolute()


@pytest.mark.parametrize("way", ["symlink", "copy"])
def test_a_name_that_is_right_is_left_alone(store, tmp_path, way):
    content, name = build(store).outputs["out.txt"], tmp_path / "out.txt"
    publish(store, content, name, way)
    before = name.lstat()
    publish(store, content, name, way)
    assert name.lstat() == before


@pytest.mark.parametrize(("way", "other"), [("copy", "symlink"), ("symlink", "copy")])
def test_a_name_that_shows_the_content_in_another_way_is_made_anew(store, tmp_path, way, other):
    content, name = build(store).outputs["out.txt"], tmp_path / "out.txt"
    publish(store, content, name, other)
    publish(store, content, name, way)
    assert name.is_symlink() == (way == "symlink") and name.read_bytes() == b"hello"


def test_where_the_file_system_can_a_copy_shares_the_blobs_bytes(store, tmp_path, monkeypatch):
    def clone(target, request, source):
        """As ioctl_ficlone(2) is called; here it copies, and marks what it made."""
        assert request == 0x40049409
        os.write(target, os.pread(source, 9, 0) + b" by reflink")

    monkeypatch.setattr("fcntl.ioctl", clone)
    publish(store, build(store).outputs["out.txt"], tmp_path / "out.txt", "auto")
    assert (tmp_path / "out.txt").read_bytes() == b"hello by reflink"


def test_a_link_to_something_else_is_made_anew(store, tmp_path):
    content, name = build(store).outputs["out.txt"], tmp_path / "out.txt"
    name.symlink_to(tmp_path / "other")
    publish(store, content, name)
    assert name.read_bytes() == b"hello"
