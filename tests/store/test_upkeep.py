"""verify, gc and du: what they find, what they keep, and that gc only lists unless told."""

import time
from pathlib import Path

import pytest

from megaport.cli import main
from megaport.store.actions import Action, Receipt, read_receipt
from megaport.store.disk import exclusive
from megaport.store.store import Made, Store
from megaport.store.upkeep import Garbage, remove


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
    Receipt(action, result.outputs, result.facts).write(tmp_path / "results" / "m" / "convert.json")
    build(store, "old", b"forgotten")
    (store.root / "trust").mkdir()
    (store.root / "trust" / "x.json").write_text("{}")
    return store, tmp_path / "results", source, result.outputs["convert/out"]


def run(capsys, *arguments):
    status = main(["store", *map(str, arguments)])
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
    [key] = {read_receipt(path).action.key for path in kept[1].glob("*/*.json")}
    assert status == 1
    assert shown.splitlines() == [
        f"{2 + (harm == 'rot')} blobs, 3 actions",
        *[f"damaged blob {content.sha256}"] * (harm == "rot"),
        f"action {key} names a blob that is missing or damaged",
        "the next run rebuilds what it needs of these",
    ]


def test_verify_reports_an_action_that_cannot_be_read(kept, capsys):
    store, *_ = kept
    key = next(iter(store.actions))
    store.actions.path(key).chmod(0o644)
    store.actions.path(key).write_bytes(b"{")
    status, shown = run(capsys, "verify", store.root)
    assert status == 1 and f"action {key} names a blob" in shown


def test_gc_lists_and_removes_nothing_unless_told(kept, capsys):
    store, results, *_ = kept
    before = sorted(store.root.rglob("*"))
    status, shown = run(capsys, "gc", store.root, results, "--grace", 0)
    *names, total = shown.splitlines()
    assert status == 0 and all((store.root / name).exists() for name in names)
    size = sum((store.root / name).lstat().st_size for name in names)
    assert total == f"would remove (--delete) {len(names)} files and folders, {size:,} bytes"
    assert {Path(name).parts[0] for name in names} == {"sha256", "actions", "stat"}
    assert sorted(store.root.rglob("*")) == before


def test_gc_says_what_it_removed_and_how_much_a_folder_held(kept, capsys):
    store, results, *_ = kept
    run(capsys, "gc", store.root, results, "--grace", 0, "--delete")
    left = store.root / "tmp" / "dead"
    (left / "deep").mkdir(parents=True)
    (left / "deep" / "half").write_bytes(bytes(1234))
    shown = run(capsys, "gc", store.root, results, "--grace", 0, "--delete")
    assert shown == (0, "tmp/dead\nremoved 1 files and folders, 1,234 bytes\n")
    assert not left.exists()


def test_removing_what_vanished_or_stays_is_no_error(tmp_path):
    """A link to a folder is nothing a store makes: it stays, and what it shows."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove(Garbage([tmp_path / "gone", tmp_path / "link"], 0))
    assert (tmp_path / "link").is_dir()


def test_gc_keeps_what_results_reach(kept, capsys):
    store, results, source, content = kept
    run(capsys, "gc", store.root, results, "--grace", 0, "--delete")
    assert store.path_of(source).read_bytes() == b"bytes"
    assert store.path_of(content).read_bytes() == b"kept"
    assert len(list(store.blobs)) == 2 and len(list(store.actions)) == 1
    assert (store.root / "trust" / "x.json").exists()


@pytest.mark.parametrize(("hours", "left"), [(0.9, 3), (1.1, 2)])
def test_gc_leaves_what_is_younger_than_an_hour_alone(kept, capsys, monkeypatch, hours, left):
    store, results, *_ = kept
    now = time.time() + hours * 3600
    monkeypatch.setattr("megaport.store.upkeep.time.time", lambda: now)
    run(capsys, "gc", store.root, results, "--delete")
    assert len(list(store.blobs)) == left


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
    monkeypatch.setattr("megaport.store.upkeep.left_over", lambda folder: [gone])
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
    Receipt(action, result.outputs, result.facts).write(results / "report.json")
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


def test_gc_passes_over_what_a_run_says_of_the_machine(kept, capsys):
    run_folder = kept[1] / "run"
    run_folder.mkdir()
    (run_folder / "report.json").write_text('{"seconds": 3}')
    assert run(capsys, "gc", kept[0].root, kept[1])[0] == 0


def test_gc_takes_nothing_from_a_folder_that_is_no_store(tmp_path):
    """A slip, `.` for `.store`, must cost nobody a file."""
    (tmp_path / "tmp" / "mine").mkdir(parents=True)
    (tmp_path / "results").mkdir()
    with pytest.raises(SystemExit, match="no store at"):
        main(["store", "gc", str(tmp_path), str(tmp_path / "results"), "--delete", "--grace", "0"])
    assert (tmp_path / "tmp" / "mine").exists()


def test_gc_stops_at_a_folder_whose_files_are_no_receipts(kept, capsys):
    store, results, *_ = kept
    other = results.parent / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    assert main(["store", "gc", str(store.root), str(other), "--delete", "--grace", "0"]) == 1
    said = capsys.readouterr().err
    assert "Nothing was removed" in said and "Delete the file" not in said
    assert len(list(store.blobs)) == 3


def test_gc_says_where_no_receipt_keeps_anything(kept, capsys):
    store, results, *_ = kept
    (other := results.parent / "other").mkdir()
    _, told = run(capsys, "gc", store.root, other, "--grace", 0)
    assert told.startswith(f"no receipt in {other}: ")


def test_gc_stops_at_a_results_folder_that_is_not_there(kept):
    with pytest.raises(SystemExit, match="nothing was removed"):
        main(["store", "gc", str(kept[0].root), "/nowhere", "--delete"])
    assert len(list(kept[0].blobs)) == 3


def test_du_counts(kept, capsys):
    status, shown = run(capsys, "du", kept[0].root)
    assert status == 0
    assert [line.split() for line in shown.splitlines()] == [
        ["blobs", "3", "18", "bytes"],
        ["actions", "3"],
    ]
