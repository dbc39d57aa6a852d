"""The files an engine opens: what is refused by name, and what their sizes are."""

import json
import shutil
from pathlib import Path

import pytest

from megaport.generate.engines import open_engine
from megaport.generate.engines.base import EngineError
from megaport.generate.model_files import ModelFilesError, read_shape
from support.tiny_gpt2 import FP32


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "llama"),
        ("activation_function", "relu"),
        ("add_cross_attention", True),
        ("n_head", None),
    ],
)
def test_what_is_not_gpt2_is_refused_by_name(tmp_path: Path, tiny: Path, key: str, value: object):
    config = json.loads((tiny / "config.json").read_text())
    config = {**config, key: value} if value else {k: v for k, v in config.items() if k != key}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFilesError, match=key):
        read_shape(tmp_path)


def test_files_that_cannot_be_read_are_named(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"config\.json"):
        open_engine("fast", tmp_path, FP32)
    shutil.copy(tiny / "config.json", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ModelFilesError, match=r"model\.safetensors"):
        open_engine("fast", tmp_path, FP32)
    with pytest.raises(EngineError, match="AutoModelForCausalLM"):
        open_engine("eager", tmp_path, FP32)


def test_the_weights_read_per_token_are_those_of_the_real_345m(tmp_path: Path) -> None:
    config = {"n_layer": 24, "n_head": 16, "n_embd": 1024, "n_positions": 1024}
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 50257}))
    shape = read_shape(tmp_path)
    assert shape.weights == 354_823_168 - 1024 * 1024
    assert shape.keys == 49_152
