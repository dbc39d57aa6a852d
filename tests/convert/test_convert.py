"""Accounting, vocabulary rows, shards, config.json and the same bytes everywhere."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, GPT2Config

from megaport.convert.convert import ConversionError
from megaport.gpt2 import config_of
from megaport.tensors import Tensor
from support.conversions import SMALL, convert, small, with_tensors

ROOT = Path(__file__).resolve().parents[2]


def test_hazard_tensors_of_other_dtypes_are_named_in_one_error(tmp_path: Path) -> None:
    checkpoint, architecture = small()
    single = (Tensor("F32", np.zeros(16, np.float32)),)
    changed = with_tensors(
        checkpoint, final_layernorm__bias=single, layers__1__input_layernorm__weight=single
    )
    with pytest.raises(ConversionError) as refused:
        convert(changed, architecture, tmp_path / "out")
    for name in ("final_layernorm.bias", "layers.1.input_layernorm.weight"):
        assert f"{name}: dtype F32 where word_embeddings.weight is F16" in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_mixed_dtypes_convert_where_a_dtype_is_asked_for(tmp_path: Path) -> None:
    checkpoint, architecture = small()
    changed = with_tensors(
        checkpoint, final_layernorm__bias=(Tensor("F32", np.ones(16, np.float32)),)
    )
    convert(changed, architecture, tmp_path, dtype="float16")
    assert load_file(tmp_path / "model.safetensors")["transformer.ln_f.bias"].tolist() == [1] * 16


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("vocabulary", [127, 128, 31, 33, 1])
def test_hazard_padded_vocabulary_gives_exact_rows(
    tmp_path: Path, vocabulary: int, ranks: int
) -> None:
    checkpoint, architecture = small(ranks=ranks)
    convert(checkpoint, replace(architecture, vocab_size=vocabulary), tmp_path)
    shards = checkpoint.tensors["word_embeddings.weight"]
    expected = np.concatenate([shard.array for shard in shards])[:vocabulary]
    rows = load_file(tmp_path / "model.safetensors")["transformer.wte.weight"]
    np.testing.assert_array_equal(rows, expected)
    assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == vocabulary


def test_config_json_is_what_transformers_would_save_and_n_ctx(tmp_path: Path) -> None:
    convert(*small(dtype="F32"), tmp_path / "ours")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    model.save_pretrained(tmp_path / "theirs")
    ours, theirs = ((tmp_path / name / "config.json").read_text() for name in ("ours", "theirs"))
    without_version = [line for line in theirs.splitlines() if "transformers_version" not in line]
    assert ours.splitlines() == without_version
    assert json.loads(ours)["n_ctx"] == SMALL.positions
    weights = "model.safetensors"
    assert (tmp_path / "ours" / weights).read_bytes() == (
        tmp_path / "theirs" / weights
    ).read_bytes()


def test_config_json_of_unusual_sizes() -> None:
    _, architecture = small()
    wide = config_of(replace(architecture, n_inner=40, vocab_size=50257, padded_vocab_size=50304))
    assert (wide["n_inner"], wide["eos_token_id"], wide["dtype"]) == (40, 50256, "float32")
    narrow = config_of(replace(architecture, vocab_size=50256))
    assert (narrow["n_inner"], narrow["bos_token_id"], narrow["eos_token_id"]) == (None, None, None)
    assert set(GPT2Config().to_dict()) >= set(wide) - {"n_ctx"}


@pytest.mark.parametrize("limit", [1, 2000, 5000, 10**9])
def test_shards_are_named_and_indexed_as_hugging_face_does(tmp_path: Path, limit: int) -> None:
    checkpoint, architecture = small()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    convert(checkpoint, architecture, whole)
    digests = convert(checkpoint, architecture, cut, max_shard_size=limit)
    assert digests == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in cut.iterdir()
    }
    expected = load_file(whole / "model.safetensors")
    if limit == 10**9:
        assert sorted(digests) == ["config.json", "model.safetensors"]
        return
    index = json.loads((cut / "model.safetensors.index.json").read_text())
    count = len(digests) - 2
    names = [f"model-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)]
    assert sorted(set(index["weight_map"].values())) == names
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in expected.values())
    for name in names:
        held = load_file(cut / name)
        assert len(held) == 1 or sum(array.nbytes for array in held.values()) <= limit
        for key, array in held.items():
            assert index["weight_map"].pop(key) == name
            np.testing.assert_array_equal(array, expected[key])
    assert index["weight_map"] == {}
    AutoModelForCausalLM.from_pretrained(cut)


SCRIPT = """
import sys, json
from pathlib import Path
from support.conversions import convert, small
print(json.dumps(convert(*small(ranks=2), Path(sys.argv[1]), max_shard_size=4000)))
"""


def digests_of_another_process(folder: Path, **environment: str) -> dict[str, str]:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(ROOT / "workflow"), str(ROOT / "tests")]),
            **environment,
        },
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(run.stdout)


def test_hazard_same_input_other_path_time_locale_worker_count(tmp_path: Path) -> None:
    here = convert(*small(ranks=2), tmp_path / "here", max_shard_size=4000)
    for number, environment in enumerate(
        (
            {"LANG": "C", "PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu", "OMP_NUM_THREADS": "1"},
            {"LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "2", "HOME": "/nonexistent"},
        )
    ):
        folder = tmp_path / f"größe und platz {number}"
        assert digests_of_another_process(folder, **environment) == here


def test_neither_torch_nor_transformers_nor_safetensors_is_imported() -> None:
    modules = ("convert", "pytorch_bin", "export", "model_dir")
    imports = ", ".join(f"megaport.convert.{name}" for name in modules)
    heavy = {"torch", "transformers", "safetensors", "tokenizers"}
    code = f"import sys, {imports}; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "workflow")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == "[]"
