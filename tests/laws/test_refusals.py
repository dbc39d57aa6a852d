""" "Refused", for a whole run: a named error with its remedy, a non-zero exit, nothing published,
nothing that was built already lost. One checkpoint for each way of being bad.
"""

from pathlib import Path

import pytest
import torch

from megaport.store.store import Store
from megaport.store.upkeep import verify
from support.archives import GOOD, TRACKER, File, zipped
from support.checkout import configured, content, refuses
from support.megatron_files import write_checkpoint
from support.megatron_model import Model
from support.samples import slow
from support.torchfiles import file, global_, reduce, text


def archive(folder: Path) -> Path:
    path = folder / "bad.zip"
    path.write_bytes(zipped(TRACKER, GOOD, File(b"../escaped.pt", b"PK")))
    return path


def attack(folder: Path, serialization: str) -> Path:
    command = f"touch {folder / 'owned'}"
    path = folder / "bad.pt"
    path.write_bytes(file(serialization, reduce(global_("os", "system"), text(command)), {}))
    return path


def rank_lost(folder: Path) -> Path:
    path = write_checkpoint(folder / "bad", Model(), layout="encoder", tp=2)
    (path / "iter_0000007/mp_rank_01/model_optim_rng.pt").unlink()
    return path


def diverged(folder: Path, value: float) -> Path:
    model = Model()
    model.tensors["final_layernorm.weight"][3] = value
    return write_checkpoint(folder / "bad", model, layout="encoder")


def rotary(folder: Path) -> Path:
    args = {"position_embedding_type": "rope"}
    return write_checkpoint(folder / "bad", Model(), layout="encoder", args=args)


BAD = {
    "archive": (archive, "../escaped.pt"),
    "legacy pickle": (lambda folder: attack(folder, "legacy"), "os.system"),
    "zip pickle": (lambda folder: attack(folder, "zip"), "os.system"),
    "rank lost": (rank_lost, "mp_rank_01"),
    "rotary": (rotary, "rotary position embeddings"),
    "NaN": (lambda folder: diverged(folder, torch.nan), "final_layernorm.weight: 1 values are NaN"),
    "overflow": (lambda folder: diverged(folder, 7e4), "1 values overflow float16"),
}


ALWAYS = ("archive", "rank lost")


@pytest.mark.parametrize("name", [n if n in ALWAYS else slow(n) for n in BAD])
def test_refused_means_named_published_nowhere_and_nothing_lost(snakemake, built, tmp_path, name):
    make, told = BAD[name]
    before = content(built)
    model = {"checkpoint": {"path": str(make(tmp_path))}, "tokenizer": None, "dtype": "float16"}
    settings = configured(built, {"model": "bad", "models": {"bad": model}})
    ran = snakemake(built, "assemble", *settings)
    refuses(ran, told)
    lines = [line for line in ran.text.splitlines() if told in line]
    assert any(line.startswith("error: ") and "expected" in line for line in lines), lines
    published = {path.split("/")[2] for path in content(built) if path not in before}
    assert published <= {"download.json", "checksum.json", "inspect.json", "inspection"}
    assert {path: content(built)[path] for path in before} == before
    assert not list(tmp_path.rglob("owned")) and not list(built.parent.rglob("escaped*"))
    assert verify(Store(built / ".store")).clean
    assert snakemake(built, "assemble").nothing
