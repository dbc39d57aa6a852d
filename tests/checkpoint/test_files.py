"""What a path is, and that digests do not depend on where its files are."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from megaport.checkpoint.archive import BadArchiveError
from megaport.checkpoint.files import digest_files, open_files
from megaport.checkpoint.regions import UnreadableFileError, map_file
from megaport.checkpoint.selection import NoCheckpointError
from megaport.errors import MegaportError
from support.archives import CONTENT, MODEL, File, tree, zipped
from support.oracles import Oracle, oracle_cases
from support.torchfiles import saved

RANK = "mp_rank_00/model_optim_rng.pt"
TRACKER = "latest_checkpointed_iteration.txt"
LIBRARY = Path(__file__).parents[2] / "workflow"
LIST = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from megaport.checkpoint.files import source_files
print(*source_files(Path(sys.argv[2])))
"""


def sha256s(path: Path, spool: Path) -> dict[str, str]:
    return {name: sha256 for name, (sha256, _) in digest_files(path, spool=spool).items()}


def test_the_files_of_a_checkpoint_are_listed_by_the_standard_library(tmp_path: Path) -> None:
    rank = tmp_path / "release/mp_rank_00/model_optim_rng.pt"
    rank.parent.mkdir(parents=True)
    rank.write_bytes(b"\x80")
    bare = [sys.executable, "-I", "-S", "-c", LIST, str(LIBRARY)]
    for path, names in ((tmp_path, "mp_rank_00/model_optim_rng.pt"), (rank, "checkpoint")):
        found = subprocess.run([*bare, str(path)], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == names


def test_one_content_four_forms_one_digest(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    root = tree(tmp_path / "dir", **{f"release/{RANK}": CONTENT, TRACKER: b"release"})
    (tmp_path / "a.zip").write_bytes(
        zipped(File(TRACKER.encode(), b"release"), File(MODEL, CONTENT))
    )
    (tmp_path / "b.zip").write_bytes(zipped(File(b"v0.0/" + MODEL, CONTENT, method=8)))
    expected = {RANK: hashlib.sha256(CONTENT).hexdigest()}
    for path in (root, root / "release", tmp_path / "a.zip", tmp_path / "b.zip"):
        assert sha256s(path, spool) == expected
    alone = sha256s(root / f"release/{RANK}", spool)
    assert list(alone.values()) == list(expected.values())


def test_paths_that_cannot_be_read_are_named_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    long = tmp_path / ("x" * 5000)
    for path in (tmp_path / "missing", tmp_path / "pipe", Path("/dev/null"), long):
        with pytest.raises(UnreadableFileError):
            open_files(path, spool=tmp_path)
    with pytest.raises(NoCheckpointError):
        open_files(tmp_path, spool=tmp_path)


def test_folders_that_go_while_they_are_listed_hold_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.walk", lambda folder: iter([(folder, ["gone"], [])]))
    with pytest.raises(NoCheckpointError):
        open_files(tmp_path, spool=tmp_path)


def test_folders_beside_a_checkpoint_may_be_as_deep_as_the_disk_lets_them(tmp_path: Path) -> None:
    tree(tmp_path, **{RANK: CONTENT})
    deep = [Path(f"{tmp_path}{'/a' * depth}") for depth in range(1, 1200)]
    for folder in deep:
        folder.mkdir()
    (deep[-1] / "notes.txt").touch()
    try:
        assert open_files(tmp_path, spool=tmp_path).ignored == ("a/" * len(deep) + "notes.txt",)
    finally:
        (deep[-1] / "notes.txt").unlink()
        for folder in reversed(deep):  # too deep for pytest to remove them
            folder.rmdir()


def test_regions_outside_of_their_file_refused(tmp_path: Path) -> None:
    tree(tmp_path, file=b"0123456789")
    region = map_file(tmp_path / "file")
    assert bytes(region.sub(2, 3).view) == b"234"
    for offset, length in ((-1, 1), (0, -1), (0, 11), (11, 0), (1 << 62, 1 << 62)):
        with pytest.raises(MegaportError, match="a part at"):
            region.sub(offset, length)


def test_a_flipped_bit_in_a_zip_serialized_file_refused(tmp_path: Path) -> None:
    import torch

    data = bytearray(saved({"w": torch.arange(100.0)}, "zip"))
    at = data.index(torch.arange(100.0).numpy().tobytes())
    data[at + 77] ^= 4
    path = tree(tmp_path, **{RANK: bytes(data)})
    for function in (open_files, digest_files):
        with pytest.raises(BadArchiveError, match="CRC"):
            function(path, spool=tmp_path)


def test_files_that_torch_saved_without_crcs_are_read(tmp_path: Path) -> None:
    import torch

    torch.serialization.set_crc32_options(False)
    try:
        data = saved({"w": torch.ones(3)}, "zip")
    finally:
        torch.serialization.set_crc32_options(True)
    assert len(digest_files(tree(tmp_path, **{RANK: data}), spool=tmp_path)) == 1


@pytest.mark.oracle
@pytest.mark.parametrize("oracle", oracle_cases(), ids=lambda oracle: oracle.name)
def test_every_oracle_opens_and_digests_alike_in_any_form(oracle: Oracle, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    source = open_files(oracle.path, spool=spool)
    digests = digest_files(oracle.path, spool=spool)
    assert list(digests) == sorted(source)
    assert digest_files(oracle.path / source.folder, spool=spool) == digests
    archive = shutil.make_archive(str(tmp_path / "copy"), "zip", oracle.path)
    assert digest_files(Path(archive), spool=spool) == digests
