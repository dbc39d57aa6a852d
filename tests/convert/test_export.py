"""GPT-2 to Megatron and back, for every form, split and oracle; what a form cannot say."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from megaport.convert.export import export_checkpoint
from megaport.convert.export_trees import ExportError
from megaport.convert.weights import INDEX, UnreadableModelError
from support.subjects import convert, read, small

WEIGHTS = "model.safetensors"
FORMS = [("ngc", 1, 1)] + [
    (form, tensors, stages)
    for form in ("v3", "core")
    for tensors, stages in ((1, 1), (2, 1), (4, 2), (1, 2))
]
NESTED = "[" * 20_000
HEADER = "@@" + "\0" * 6 + NESTED  # a header of 0x4040 bytes
# What NGC's form cannot say.
UNSAID = {"n_head": 4, "vocab_size": 101}


def gpt2(folder: Path, **changed: Any) -> Path:
    return convert(small(**changed), folder)


@pytest.mark.parametrize(("form", "tensors", "stages"), FORMS)
@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("activation", ["gelu_new", "gelu"])
def test_what_is_written_says_how_it_is_split_and_gives_the_same_files(
    tmp_path: Path, form: Any, tensors: int, stages: int, untied: bool, activation: str
) -> None:
    if form == "ngc" and (untied or activation == "gelu"):
        return  # test_hazard_* below: it can say neither
    model = gpt2(tmp_path / "model", untied=untied, activation=activation)
    out = tmp_path / "megatron"
    export_checkpoint(model, out, form=form, tensor_parallel=tensors, pipeline_parallel=stages)
    subject = read(out, tmp_path, UNSAID if form == "ngc" else {})
    found = subject.checkpoint
    assert (found.tensor_parallel, found.pipeline_parallel) == (tensors, stages)
    assert found.qkv_order == ("3,np,hn" if form == "ngc" else "np,3,hn")
    assert found.version == (None if form == "ngc" else 3.0)
    words = found.tensors["word_embeddings.weight"]
    assert sum(shard.shape[0] for shard in words) == 128 * tensors
    assert not words[-1].array[101 - 128 :].any()
    again = convert(subject, tmp_path / "again")
    for name in ("config.json", WEIGHTS):
        assert (again / name).read_bytes() == (model / name).read_bytes(), name


@pytest.mark.parametrize("form", ["ngc", "v3", "core"])
def test_the_same_model_gives_the_same_bytes(tmp_path: Path, form: Any) -> None:
    model = gpt2(tmp_path / "model")
    for name in ("one", "two and a space"):
        export_checkpoint(model, tmp_path / name, form=form)
    one, two = (
        [p.read_bytes() for p in sorted([folder, *folder.rglob("*")]) if p.is_file()]
        for folder in (tmp_path / "one", tmp_path / "two and a space")
    )
    assert one == two


def test_ngcs_form_is_ngcs(tmp_path: Path) -> None:
    """Members, legacy serialization, FP16, padded rows, no args, no version (formats.md)."""
    model = gpt2(tmp_path / "model")
    for compress in (False, True):
        export_checkpoint(model, tmp_path / "zip", form="ngc", compress=compress)
        with zipfile.ZipFile(tmp_path / "zip") as archive:
            assert archive.read("latest_checkpointed_iteration.txt") == b"release"
            data = archive.read("release/mp_rank_00/model_optim_rng.pt")
            assert len(archive.namelist()) == 2
        assert data.startswith(b"\x80\x02")
        (tmp_path / "model.pt").write_bytes(data)
        state = torch.load(tmp_path / "model.pt", weights_only=True)
        assert list(state) == ["model"]
        language_model = state["model"]["language_model"]
        assert list(language_model) == ["embedding", "transformer"]
        assert language_model["embedding"]["word_embeddings"]["weight"].shape == (128, 16)
        names = list(language_model["transformer"])
        assert names[2] == "layers.0.attention.query_key_value.weight"
        assert {t.dtype for t in language_model["transformer"].values()} == {torch.float16}


@pytest.mark.parametrize("form", ["v3", "core"])
def test_torch_loads_every_rank_file(tmp_path: Path, form: Any) -> None:
    out = tmp_path / "megatron"
    export_checkpoint(
        gpt2(tmp_path / "model"), out, form=form, tensor_parallel=2, pipeline_parallel=2
    )
    files = sorted(out.rglob("*.pt"))
    assert [file.parent.name for file in files] == [
        "mp_rank_00_000",
        "mp_rank_00_001",
        "mp_rank_01_000",
        "mp_rank_01_001",
    ]
    from argparse import Namespace

    with torch.serialization.safe_globals([Namespace]):
        for file in files:
            state = torch.load(file, weights_only=True)
            assert state["args"].tensor_model_parallel_size == 2
            assert state["args"].params_dtype is torch.float16
            assert state["checkpoint_version"] == 3.0


def refused(tmp_path: Path, match: str, form: Any = "v3", **sizes: int) -> None:
    with pytest.raises(ExportError, match=match):
        export_checkpoint(tmp_path / "model", tmp_path / "out", form=form, **sizes)
    assert not (tmp_path / "out").exists()


def test_hazard_sizes_that_do_not_divide(tmp_path: Path) -> None:
    gpt2(tmp_path / "model")
    refused(tmp_path, "n_head 4 is not divisible by 3.*n_inner 64", tensor_parallel=3)
    refused(tmp_path, "n_layer 2 is not divisible by 4", pipeline_parallel=4)


@pytest.mark.parametrize(
    ("key", "value"), [("scale_attn_weights", False), ("scale_attn_by_inverse_layer_idx", True)]
)
def test_attention_that_no_megatron_computes_is_refused(
    key: str, value: bool, tmp_path: Path
) -> None:
    path = gpt2(tmp_path / "model") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    refused(tmp_path, f"{key} {value}")


def test_hazard_what_ngcs_form_cannot_say(tmp_path: Path) -> None:
    gpt2(tmp_path / "model")
    refused(tmp_path, "tensor_parallel 2", form="ngc", tensor_parallel=2)
    gpt2(tmp_path / "model", untied=True)
    refused(tmp_path, "tied False", form="ngc")
    gpt2(tmp_path / "model", activation="gelu")
    refused(tmp_path, "activation_function for form ngc: found gelu", form="ngc")
    gpt2(tmp_path / "model", activation="relu")
    refused(tmp_path, "found relu")


def test_hazard_incomplete_model(tmp_path: Path) -> None:
    model = gpt2(tmp_path / "model")
    tensors = load_file(model / WEIGHTS)
    del tensors["transformer.ln_f.bias"]
    tensors["transformer.h.0.ln_1.bias"] = np.zeros(3, np.float16)
    tensors["transformer.h.9.ln_1.bias"] = np.zeros(16, np.float32)
    save_file(tensors, model / WEIGHTS)
    refused(
        tmp_path,
        "missing transformer.ln_f.bias; extra transformer.h.9.ln_1.bias; "
        r"transformer.h.0.ln_1.bias of shape \[3\], not \[16\]; mixed dtypes F16, F32",
    )
    (model / WEIGHTS).unlink()
    with pytest.raises(UnreadableModelError, match="no weights"):
        export_checkpoint(model, tmp_path / "out", form="v3")


def test_a_bare_gpt2_with_masks_is_exported_as_well(tmp_path: Path) -> None:
    """As OpenAI's GPT-2 lies on the Hub: no `transformer.` in front, and causal masks."""
    model = gpt2(tmp_path / "model")
    export_checkpoint(model, tmp_path / "plain", form="ngc")
    tensors = load_file(model / WEIGHTS)
    bare = {name.removeprefix("transformer."): array for name, array in tensors.items()}
    bare["h.0.attn.bias"] = np.ones((1, 1, 8, 8), np.float16)
    save_file(bare, model / WEIGHTS)
    export_checkpoint(model, tmp_path / "bare", form="ngc")
    assert (tmp_path / "bare").read_bytes() == (tmp_path / "plain").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("config.json", None, "a config.json"),
        ("config.json", "{", "a config.json"),
        ("config.json", "[1]", "a config.json"),
        pytest.param("config.json", NESTED, "a config.json", id="nested config"),
        ("config.json", '{"model_type": "gpt2", "n_embd": 1}', "n_layer"),
        ("model.safetensors", "not", "a safetensors file"),
        pytest.param("model.safetensors", HEADER, "a safetensors file", id="nested header"),
        (INDEX, "{}", "an index of shards"),
        pytest.param(INDEX, NESTED, "an index of shards", id="nested index"),
        ("model-00002-of-00006.safetensors", None, "No such file"),
    ],
)
def test_hazard_a_damaged_model_directory(
    tmp_path: Path, name: str, content: str | None, expected: str
) -> None:
    model = tmp_path / "model"
    convert(small(), model, max_shard_size=4000 if name.startswith("model") else None)
    if content is None:
        (model / name).unlink()
    else:
        (model / name).write_text(content)
    with pytest.raises(UnreadableModelError, match=expected):
        export_checkpoint(model, tmp_path / "out", form="v3")


def test_hazard_a_model_of_another_architecture(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    refused(tmp_path, "a model of type llama; expected a GPT-2: `export` knows no other")
