"""verify, gc and du: what they find, what they keep, and that gc only lists unless told."""

import time

import pytest

from megaport.store.actions import Action
from megaport.store.blobs import Content
from megaport.store.locks import exclusive
from megaport.store.receipts import Receipt
from megaport.store.store import Made, Store
from megaport.store.tool import main


def build(store, name, content, inputs=None):
    action = Action(name, {"in": inputs or {}}, {}, "code", {})
    with store.workspace() as folder:
        made = folder / "out"
        made.write_bytes(content)
        return action, store.record(action.key, {f"{name}/out": made}, Made(), {})


@pytest.fixture
def kept(tmp_path):
    """A store with one named result, one forgotten, and a trust record."""
    store = Store(tmp_path / "store")
    source = build(store, "download", b"bytes")[1].outputs["download/out"]
    action, result = build(store, "convert", b"kept", {"checkpoint": source})
    Receipt.of(action, result).write(tmp_path / "results" / "m" / "convert.json")
    build(store, "old", b"forgotten")
    (store.root / "trust").mkdir()
    (store.root / "trust" / "x.json").write_text("{}")
    return store, tmp_path / "results", source, result.outputs["convert/out"]


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    return status, capsys.readouterr().out


def test_verify_is_clean_and_says_so(kept, capsys):
    assert run(capsys, "verify", kept[0].root) == (0, "3 blobs, 3 actions\nclean\n")


@pytest.mark.parametrize("harm", ["rot", "remove"])
def test_verify_reports_damage_even_where_stat_was_remembered(kept, capsys, harm):
    store, _, _, content = kept
    blob = store.path_of(content)
    if harm == "rot":
        blob.chmod(0o644)
        blob.write_bytes(b"kepT")
        store.stats.vouch(blob, content.sha256)
    else:
        blob.unlink()
    status, shown = run(capsys, "verify", store.root)
    assert status == 1 and "action" in shown
    assert (content.sha256 in shown) == (harm == "rot")


def test_gc_lists_and_removes_nothing_unless_told(kept, capsys):
    store, results, *_ = kept
    before = sorted(store.root.rglob("*"))
    status, shown = run(capsys, "gc", store.root, results, "--grace", 0)
    assert status == 0 and "would remove" in shown
    assert sorted(store.root.rglob("*")) == before


def test_gc_keeps_what_results_reach(kept, capsys):
    store, results, source, content = kept
    run(capsys, "gc", store.root, results, "--grace", 0, "--delete")
    assert store.path_of(source).read_bytes() == b"bytes"
    assert store.path_of(content).read_bytes() == b"kept"
    assert len(list(store.blobs)) == 2 and len(list(store.actions)) == 1
    assert (store.root / "trust" / "x.json").exists()


def test_gc_leaves_the_young_alone(kept, capsys):
    store, results, *_ = kept
    run(capsys, "gc", store.root, results, "--delete")
    assert len(list(store.blobs)) == 3


def test_gc_leaves_what_a_hit_has_just_found(kept, capsys):
    """Hazard: collection while a run reads. A hit of an old action has no receipt for a moment."""
    store, results, *_ = kept
    key = Action("old", {"in": {}}, {}, "code", {}).key
    time.sleep(1)
    assert store.lookup(key)
    run(capsys, "gc", store.root, results, "--delete", "--grace", 0.5 / 3600)
    assert store.lookup(key)
    run(capsys, "gc", store.root, results, "--delete", "--grace", 0)
    assert not store.lookup(key)


def test_gc_survives_what_vanishes_while_it_looks(kept, capsys, monkeypatch):
    store, results, *_ = kept
    gone = store.actions.folder / ".x.1.00000000.tmp"
    monkeypatch.setattr("megaport.store.collect.left_over", lambda folder: [gone])
    assert run(capsys, "gc", store.root, results, "--grace", 0)[0] == 0


def test_gc_leaves_a_live_workspace_and_takes_a_dead_one(kept, capsys):
    store, results, *_ = kept
    (store.root / "tmp" / "dead").mkdir()
    (store.root / "tmp" / "orphan.lock").touch()
    with store.workspace() as folder:
        (folder / "half").write_bytes(b"x")
        run(capsys, "gc", store.root, results, "--grace", 0, "--delete")
        assert (folder / "half").exists()
    assert list((store.root / "tmp").glob("[do]*")) == []


def test_gc_takes_what_nobody_holds_and_keeps_what_the_report_names(kept, capsys):
    store, results, *_ = kept
    action, result = build(store, "report", b"page")
    Receipt.of(action, result).write(results / "report.json")
    for name in ("partial/held", "partial/left", "stat/ab/abc", "tmp/dead.lock"):
        (store.root / name).parent.mkdir(parents=True, exist_ok=True)
        (store.root / name).write_bytes(b"x")
    (store.root / "tmp" / "dead").mkdir()
    with exclusive(store.root / "partial" / "held"):
        run(capsys, "gc", store.root, results, "--grace", 0, "--delete")
    assert [path.name for path in (store.root / "partial").iterdir()] == ["held"]
    assert not list((store.root / "tmp").iterdir())
    assert not (store.root / "stat/ab/abc").exists()
    assert store.lookup(action.key)


def test_gc_stops_at_a_receipt_it_cannot_read(kept, capsys):
    store, results, *_ = kept
    (results / "m" / "convert.json").write_text("{")
    assert main(["gc", str(store.root), str(results), "--grace", "0", "--delete"]) == 1
    assert len(list(store.blobs)) == 3


def test_gc_stops_at_a_results_folder_that_is_not_there(kept):
    with pytest.raises(SystemExit, match="nothing was removed"):
        main(["gc", str(kept[0].root), "/nowhere", "--delete"])
    assert len(list(kept[0].blobs)) == 3


def test_du_counts(kept, capsys):
    status, shown = run(capsys, "du", kept[0].root)
    assert status == 0 and "18 bytes" in shown


def test_sizes_of_contents_survive_json():
    assert Content.from_json(Content("a" * 64, 5).to_json()) == Content("a" * 64, 5)
