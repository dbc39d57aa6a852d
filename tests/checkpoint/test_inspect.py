"""inspect: JSON data and a screen that name every tensor and every decision."""

from pathlib import Path

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.inspect import inspect, inspection
from megaport.checkpoint.open import open_checkpoint
from megaport.checkpoint.screen import WIDTH, left_open, screen
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
    text = unwrapped(screen(found, tensors=True))
    for name in model.tensors:
        assert name in text
        assert name not in screen(found)
    for decision in found["decisions"]:  # type: ignore[attr-defined]
        assert decision["reason"] in text
        assert not decision["override"] or decision["override"] in text


def unwrapped(text: str) -> str:
    assert max(map(len, text.splitlines())) <= WIDTH
    return " ".join(text.split())


def bare(tmp_path: Path, **arguments: object) -> Path:
    """A checkpoint of 2020 that states neither its heads nor its version."""
    files = {"layout": "transformer", "with_args": False, "version": None} | arguments
    return write_checkpoint(tmp_path / "bare", Model(), **files)  # type: ignore[arg-type]


def test_what_nobody_states_comes_first_and_the_rest_is_there(tmp_path: Path) -> None:
    found = inspect(bare(tmp_path), {}, spool=tmp_path)
    assert found["architecture"]["n_head"] is None
    text = screen(found)
    assert text.index("Missing\n  n_head: ") < text.index("Checkpoint")
    assert "--n-head NUMBER here, n_head=NUMBER behind" in unwrapped(text)
    assert "an unknown number of heads" in text
    for known in ("n_layer", "n_embd", "padded_vocab_size", "activation_function"):
        assert known in text
    assert left_open(found) == ["n_head"]
    known = inspect(bare(tmp_path), {"n_head": 2}, spool=tmp_path)
    assert "Missing" not in screen(known)
    assert left_open(known) == []


def test_an_undated_checkpoint_is_shown_without_what_the_version_decides(tmp_path: Path) -> None:
    path = bare(tmp_path, with_args=True, args={"bias_gelu_fusion": False})
    found = inspect(path, {}, spool=tmp_path)
    assert (found["checkpoint"]["version"], found["checkpoint"]["qkv_order"]) == (None, None)
    assert "--version NUMBER here, version=NUMBER behind" in unwrapped(screen(found))
    assert left_open(found) == ["version"]
    assert inspect(path, {}, version=1, spool=tmp_path)["checkpoint"]["version"] == 1


def test_text_of_the_file_cannot_steer_a_terminal(tmp_path: Path) -> None:
    found = inspected(tmp_path)
    found["ignored"] = ["\x1b[2Jgone", "long" * 100]
    text = screen(found)
    assert "\x1b" not in text
    assert "\\x1b[2Jgone" in text
    assert "long" * 30 not in text


def test_arguments_that_nobody_knows_come_before_all_else(tmp_path: Path) -> None:
    said = {"attention_temperature": 2, "softmax_twist": "x" * 200}
    path = write_checkpoint(tmp_path / "c", Model(), layout="core", args=said)
    text = screen(inspect(path, {}, spool=tmp_path))
    doubts = text[text.index("Doubtful") : text.index("Checkpoint\n")]
    assert "  attention_temperature: 2\n" in doubts
    assert "sound like mathematics" in unwrapped(doubts)
    assert text.count("softmax_twist") == 1
