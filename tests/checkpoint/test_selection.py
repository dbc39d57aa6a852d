"""Which files of a path are the checkpoint: whose iteration, and what carries the model."""

import os
from itertools import permutations
from pathlib import Path

import pytest

from megaport.checkpoint.files import digest_files, open_files, source_files
from megaport.checkpoint.regions import UnreadableFileError
from megaport.checkpoint.selection import NoCheckpointError, content_files
from support.archives import CONTENT, tree

RANK = "mp_rank_00/model_optim_rng.pt"
TRACKER = "latest_checkpointed_iteration.txt"


@pytest.mark.parametrize(
    ("tracker", "folder"),
    [
        *(("release", "release"), ("7", "iter_0000007"), ("300\n", "iter_0000300")),
        *((" 12 ", "iter_12"), ("80000", "80000")),
    ],
)
def test_the_tracker_selects_among_iterations(tracker: str, folder: str, tmp_path: Path) -> None:
    for name in ("release", "iter_0000007", "iter_7", "iter_0000300", "iter_12", "7", "80000"):
        tree(tmp_path, **{f"{name}/{RANK}": b"\x80" + name.encode()})
    tree(tmp_path, **{TRACKER: tracker.encode()})
    source = open_files(tmp_path, spool=tmp_path)
    assert source.folder == f"{folder}/"
    assert bytes(source[RANK].view) == b"\x80" + folder.encode()


def test_deepspeeds_tracker_selects_among_steps(tmp_path: Path) -> None:
    for step in ("global_step5", "global_step10"):
        tree(tmp_path, **{f"{step}/layer_01-model_00-model_states.pt": b"\x80" + step.encode()})
    tree(tmp_path, latest=b"global_step10\n")
    assert open_files(tmp_path, spool=tmp_path).folder == "global_step10/"
    tree(tmp_path, **{TRACKER: b"5"})
    assert open_files(tmp_path, spool=tmp_path).folder == "global_step5/"


@pytest.mark.parametrize(
    "tracker",
    [b"", b"-1", b"../release", b"latest", b"\xff", b"9" * 30, b"8", "\u00b2".encode(), b"\x1b[2J"],
)
def test_trackers_that_name_nothing_that_is_there_refused(tracker: bytes, tmp_path: Path) -> None:
    tree(tmp_path, **{f"iter_0000007/{RANK}": CONTENT, TRACKER: tracker})
    with pytest.raises(NoCheckpointError):
        open_files(tmp_path, spool=tmp_path)


@pytest.mark.parametrize("name", [b"../x", b"/etc", b"", b"x/y", b".."])
def test_a_deepspeed_tracker_that_leaves_the_directory_refused(name: bytes, tmp_path: Path) -> None:
    tree(tmp_path / "c", **{f"global_step5/{RANK}": CONTENT, "latest": name})
    tree(tmp_path, **{f"x/{RANK}": CONTENT})
    with pytest.raises(NoCheckpointError, match="names"):
        open_files(tmp_path / "c", spool=tmp_path)


def test_without_a_tracker_the_only_iteration_or_the_directory_itself(tmp_path: Path) -> None:
    tree(tmp_path, **{f"iter_0000007/{RANK}": CONTENT})
    assert open_files(tmp_path, spool=tmp_path).folder == "iter_0000007/"
    assert open_files(tmp_path / "iter_0000007", spool=tmp_path).folder == ""
    assert list(open_files(tmp_path / "iter_0000007/mp_rank_00", spool=tmp_path)) == [
        "model_optim_rng.pt"
    ]


@pytest.mark.parametrize(
    "strays", [("common.pt",), ("metadata.json",), ("common.pt", "metadata.json")]
)
def test_strays_that_carry_no_model_beside_an_iteration_are_ignored(
    strays: tuple[str, ...], tmp_path: Path
) -> None:
    tree(tmp_path, **{f"iter_0000007/{RANK}": CONTENT}, **dict.fromkeys(strays, b"{}"))
    files = open_files(tmp_path, spool=tmp_path)
    assert (files.folder, files.ignored) == ("iter_0000007/", strays)
    tree(tmp_path, **{TRACKER: b"7", "iter_0000007/metadata.json": b"{}"})
    assert sorted(open_files(tmp_path, spool=tmp_path)) == ["metadata.json", RANK]


@pytest.mark.parametrize("names", ["iter_0000007, iter_0000008", "iter_0000008, weights"])
def test_several_models_without_a_tracker_refused_by_name(names: str, tmp_path: Path) -> None:
    tree(tmp_path, **{f"{name}/{RANK}": CONTENT for name in names.split(", ")})
    with pytest.raises(NoCheckpointError, match=names):
        open_files(tmp_path, spool=tmp_path)


def test_only_files_that_carry_the_model_count() -> None:
    content = [
        *("mp_rank_00/model_optim_rng.pt", "mp_rank_01_002/model_rng.pt", "common.pt", ".metadata"),
        *("mp_rank_00_000_001/model_optim_rng.pt", "__3_1.distcp", "metadata.json"),
        *("decoder.final_layernorm.weight/.zarray", "decoder.final_layernorm.weight/0"),
        *("linear_qkv.weight/3.0.0", "linear_qkv.weight/.zarray", "mp_rank_00_model_states.pt"),
        "layer_103-model_07-model_states.pt",
    ]
    others = [
        *("mp_rank_00_000/optim.pt", "mp_rank_00/distrib_optim.pt", "rng_state/shard_0.0_1.1.pt"),
        *("optimizer.state.exp_avg.decoder.weight/.zarray", "optimizer.state.exp_avg.x/0.0"),
        *("zero_pp_rank_0_mp_rank_00_optim_states.pt", "bf16_zero_pp_rank_0_mp_rank_00_optim.pt"),
        *("decoder.layers.mlp.linear_fc1._extra_state/shard_0_4.pt", "latest", "README.md"),
        "layer_02.txt",
    ]
    assert content_files(content + others) == sorted(content)
    assert content_files(["images/1", "logs/0.0"]) == []
    assert content_files(["megatron_345m.pt", "notes.txt"]) == ["megatron_345m.pt"]
    assert content_files(["a.pt", "b.pt"]) == []
    assert content_files(["common.pt", "metadata.json"]) == []
    assert content_files(["common.pt", "megatron_345m.pt", "metadata.json"]) == ["megatron_345m.pt"]
    for name in ("optim.pt", "distrib_optim.pt", "opt_param_scheduler.pt", "rng.pt"):
        assert content_files([name]) == []


def test_folders_that_only_look_like_iterations_are_none(tmp_path: Path) -> None:
    tree(tmp_path, **{f"iter_{odd}/{RANK}": CONTENT for odd in ("\u00b2", "x")}, **{TRACKER: b"2"})
    with pytest.raises(NoCheckpointError, match="iter_0000002"):
        open_files(tmp_path, spool=tmp_path)


@pytest.mark.parametrize("folder", ["weights", "model_weights"])
def test_nemos_folder_of_weights_is_entered_and_what_states_it_is_kept(
    folder, tmp_path: Path
) -> None:
    tree(
        tmp_path,
        **{f"{folder}/.metadata": CONTENT, f"{folder}/common.pt": CONTENT},
        **{"context/model.yaml": b"a: 1", "context/io.json": b"{}", "ds_config.json": b"{}"},
    )
    files = open_files(tmp_path, spool=tmp_path)
    assert (files.folder, sorted(files)) == (f"{folder}/", [".metadata", "common.pt"])
    assert sorted(files.facts) == ["context/model.yaml", "ds_config.json"]
    assert files.ignored == ("context/io.json",)
    assert {*source_files(tmp_path)} == {*digest_files(tmp_path, spool=tmp_path)}
    assert {*source_files(tmp_path)} == {*files, *files.facts}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "step=1000-last.ckpt", "model.pth"])
def test_a_lone_file_of_any_usual_name_is_the_model(name: str, tmp_path: Path) -> None:
    tree(tmp_path, **{name: CONTENT, "config.json": b"{}", "training_args.bin": CONTENT})
    assert list(open_files(tmp_path, spool=tmp_path)) == [name]


def test_names_that_are_not_utf8_or_not_printable_beside_a_checkpoint_are_ignored(tmp_path) -> None:
    tree(tmp_path, **{RANK: CONTENT})
    strays = [os.fsdecode(b"stray-\xff.pt"), "mp_rank_01/\x1b[31m.ckpt", "\u202emp.distcp"]
    for stray in strays:
        tree(tmp_path, **{stray: CONTENT})
    files = open_files(tmp_path, spool=tmp_path)
    assert list(files) == [RANK]
    assert files.ignored == tuple(sorted(strays))
    with pytest.raises(UnreadableFileError) as refusal:
        open_files(tmp_path / os.fsdecode(b"none-\xff"), spool=tmp_path)
    assert str(refusal.value).isprintable()


def test_a_checkpoint_below_many_folders_is_not_searched_for(tmp_path: Path) -> None:
    tree(tmp_path, **{f"a/b/c/{RANK}": CONTENT})
    assert open_files(tmp_path, spool=tmp_path).folder == "a/b/c/"
    with pytest.raises(NoCheckpointError):
        open_files(tree(tmp_path / "deep", **{f"a/b/c/d/{RANK}": CONTENT}), spool=tmp_path)


def test_links_are_followed_and_loops_of_links_end(tmp_path: Path) -> None:
    root = tree(tmp_path / "real", **{f"iter_0000007/{RANK}": CONTENT})
    (root / "iter_0000007/again").symlink_to(root)
    link = tmp_path / "link"
    link.mkdir()
    (link / "release").symlink_to(root / "iter_0000007")
    (link / TRACKER).write_text("release")
    assert list(open_files(link, spool=tmp_path)) == [RANK]


@pytest.mark.parametrize("name", ["best", "current", "latest_good", "newest", "release", "x", "z"])
def test_a_link_to_an_iteration_does_not_hide_it(name: str, tmp_path: Path) -> None:
    tree(tmp_path, **{f"iter_0000007/{RANK}": CONTENT, TRACKER: b"7"})
    (tmp_path / name).symlink_to("iter_0000007")
    files = open_files(tmp_path, spool=tmp_path)
    assert (files.folder, files.ignored) == ("iter_0000007/", (f"{name}/{RANK}",))


def test_links_to_folders_around_the_path_are_not_followed(tmp_path: Path) -> None:
    root = tree(tmp_path / "c", **{f"iter_0000007/{RANK}": CONTENT})
    tree(tmp_path, **{"other.txt": CONTENT})
    (root / "data").symlink_to("..")
    (root / "all").symlink_to("/")
    (tmp_path / "link").symlink_to("c")
    for path in (root, tmp_path / "link"):
        assert open_files(path, spool=tmp_path).ignored == ()


def test_links_that_cross_are_followed_as_far_as_they_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megaport.checkpoint.files._MOST_FILES", 1000)
    tree(tmp_path, **{RANK: CONTENT, "a/1": b"", "b/2": b""})
    (tmp_path / "a/x").symlink_to("../b")
    (tmp_path / "b/y").symlink_to("../a")
    files = open_files(tmp_path, spool=tmp_path)
    assert (list(files), files.ignored) == ([RANK], ("a/1", "a/x/2", "b/2", "b/y/1"))
    for one, other in permutations("cdefghij", 2):
        (tmp_path / one).mkdir(exist_ok=True)
        (tmp_path / one / other).symlink_to(f"../{other}")
    with pytest.raises(NoCheckpointError, match="over 1000 files and folders"):
        open_files(tmp_path, spool=tmp_path)
