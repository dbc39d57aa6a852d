"""inspect: JSON data and a table that name every tensor and every decision."""

import json
from pathlib import Path

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.inspect import inspection, render
from megaport.checkpoint.open import open_checkpoint
from support.megatron_files import write_checkpoint
from support.megatron_model import Model


def inspected(tmp_path: Path, name: str = "c") -> dict[str, object]:
    path = write_checkpoint(tmp_path / name, Model(), layout="encoder", tp=2, pp=2)
    checkpoint = open_checkpoint(path, spool=tmp_path)
    return inspection(checkpoint, describe_architecture(checkpoint, {}))


def test_every_tensor_and_decision_is_there(tmp_path: Path) -> None:
    found = inspected(tmp_path)
    model = Model()
    tensors = {t["name"]: t for t in found["tensors"]}  # type: ignore[attr-defined]
    assert {name: tuple(t["shape"]) for name, t in tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in model.tensors.items()
    }
    assert tensors["layers.0.attention.dense.weight"]["axis"] == 1
    assert found["parameters"] == sum(tensor.numel() for tensor in model.tensors.values())
    text = render(found)
    for name in model.tensors:
        assert name in text
    for decision in found["decisions"]:  # type: ignore[attr-defined]
        assert decision["reason"] in text
        assert not decision["override"] or decision["override"] in text


def test_the_same_checkpoint_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (json.dumps(inspected(tmp_path, name)) for name in ("a", "another place"))
    assert first == second
    assert str(tmp_path) not in first


def test_files_that_do_not_count_are_reported(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="torch_dist")
    (path / "iter_0000007" / "notes.txt").write_text("")
    assert any("notes.txt" in name for name in open_checkpoint(path, spool=tmp_path).ignored)
