"""Accounting, vocabulary rows, shards, config.json and the same bytes everywhere."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, GPT2Config

from megaport.convert.convert import ConversionError
from megaport.gpt2 import config_of
from megaport.tensors import Tensor
from support.subjects import BUNDLED, SMALL, convert, digest, python, small

WEIGHTS = "model.safetensors"
ZEROS = (Tensor("F32", np.zeros(16, np.float32)),)


def test_hazard_tensors_of_other_dtypes_are_named_in_one_error(tmp_path: Path) -> None:
    names = ("final_layernorm.bias", "layers.1.input_layernorm.weight")
    with pytest.raises(ConversionError) as refused:
        convert(small().with_tensors(dict.fromkeys(names, ZEROS)), tmp_path / "out")
    for name in names:
        assert f"{name}: dtype F32 where word_embeddings.weight is F16" in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_mixed_dtypes_convert_where_a_dtype_is_asked_for(tmp_path: Path) -> None:
    convert(small().with_tensors({"final_layernorm.bias": ZEROS}), tmp_path, dtype="float16")
    assert load_file(tmp_path / WEIGHTS)["transformer.ln_f.bias"].tolist() == [0] * 16


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("vocabulary", [127, 128, 31, 33, 1])
def test_hazard_padded_vocabulary_gives_exact_rows(
    tmp_path: Path, vocabulary: int, ranks: int
) -> None:
    subject = small(ranks=ranks, vocab=vocabulary)
    convert(subject, tmp_path)
    shards = subject.checkpoint.tensors["word_embeddings.weight"]
    expected = np.concatenate([shard.array for shard in shards])[:vocabulary]
    rows = load_file(tmp_path / WEIGHTS)["transformer.wte.weight"]
    np.testing.assert_array_equal(rows, expected)
    assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == vocabulary


@pytest.mark.parametrize("untied", [False, True])
def test_files_are_those_that_transformers_would_save_and_n_ctx(
    tmp_path: Path, untied: bool
) -> None:
    convert(small(dtype="F32", untied=untied), tmp_path / "ours")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    model.save_pretrained(tmp_path / "theirs")
    ours, theirs = ((tmp_path / name / "config.json").read_text() for name in ("ours", "theirs"))
    without_version = [line for line in theirs.splitlines() if "transformers_version" not in line]
    assert ours.splitlines() == without_version
    assert json.loads(ours)["n_ctx"] == SMALL["positions"]
    assert digest(tmp_path / "ours" / WEIGHTS) == digest(tmp_path / "theirs" / WEIGHTS)


def test_config_json_of_unusual_sizes() -> None:
    architecture = small().architecture
    wide = config_of(replace(architecture, n_inner=40, vocab_size=50257, padded_vocab_size=50304))
    assert (wide["n_inner"], wide["eos_token_id"], wide["dtype"]) == (40, 50256, "float32")
    narrow = config_of(replace(architecture, vocab_size=60000, padded_vocab_size=60032))
    assert (narrow["n_inner"], narrow["bos_token_id"], narrow["eos_token_id"]) == (None, None, None)
    assert set(GPT2Config().to_dict()) >= set(wide) - {"n_ctx"}


@pytest.mark.parametrize("limit", [1, 2000, 5000, 10**9])
def test_shards_are_named_and_indexed_as_hugging_face_does(tmp_path: Path, limit: int) -> None:
    expected = load_file(convert(small(), tmp_path / "whole") / WEIGHTS)
    cut = convert(small(), tmp_path / "cut", max_shard_size=limit)
    files = sorted(path.name for path in cut.iterdir())
    if limit == 10**9:
        assert files == ["config.json", WEIGHTS]
        return
    index = json.loads((cut / "model.safetensors.index.json").read_text())
    count = len(files) - 2
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
from support.subjects import convert, digest, small
out = convert(small(ranks=2), Path(sys.argv[1]), max_shard_size=4000)
print(json.dumps({path.name: digest(path) for path in out.iterdir()}))
"""


def test_hazard_same_input_other_path_time_locale_worker_count(tmp_path: Path) -> None:
    out = convert(small(ranks=2), tmp_path / "here", max_shard_size=4000)
    here = {path.name: digest(path) for path in out.iterdir()}
    for number, environment in enumerate(
        (
            {"LANG": "C", "PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu", "OMP_NUM_THREADS": "1"},
            {"LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "2", "HOME": "/nonexistent"},
        )
    ):
        folder = tmp_path / f"größe und platz {number}"
        assert json.loads(python(SCRIPT, folder, **environment)) == here


def test_neither_torch_nor_transformers_nor_safetensors_is_imported() -> None:
    modules = ("convert", "pytorch_bin", "export", "model_dir")
    imports = ", ".join(f"megaport.convert.{name}" for name in modules)
    heavy = {"torch", "transformers", "safetensors", "tokenizers"}
    code = f"import sys, {imports}; print(sorted({heavy} & set(sys.modules)))"
    assert python(code).strip() == "[]"


FEW = """
import sys
from pathlib import Path
from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.convert import convert_checkpoint
path, out = map(Path, sys.argv[1:])
found = open_checkpoint(path, spool=out)
architecture = describe_architecture(found, {"n_head": 4})
convert_checkpoint(found, architecture, out, dtype=None, max_shard_size=None)
print(sum(name.split(".")[0] == "megaport" for name in sys.modules))
"""


def test_a_conversion_loads_few_modules_and_its_own_family_alone(tmp_path: Path) -> None:
    assert int(python(FEW, BUNDLED, tmp_path)) <= 40
