"""The converter that transformers had until 4.47.1, as a peer: where it is right, ours is the same.

Where it is wrong, Megatron's own logits tell who is. It needs an environment of its own (see
build_old_environment.py), named in MEGAPORT_OLD_TRANSFORMERS; without it nothing is collected.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from megaport.parity.reference import Reference
from support.oracles import Oracle, oracle_cases
from support.subjects import BUNDLED, SAID, convert, random_gpt2, read_bundled, read_oracle

pytestmark = pytest.mark.slow
OLD_PYTHON = os.environ.get("MEGAPORT_OLD_TRANSFORMERS")
DRIVER = Path(__file__).with_name("old_script_driver.py")
ORACLES = {oracle.name: oracle for oracle in oracle_cases()}
# What it says of a checkpoint as it lies; no oracle goes through.
STOPS_AT = {
    "ds_bigscience_fused_tp1": "KeyError: 'model'",
    "legacy_23.06_untied_tp1": "No module named 'megatron'",
    "legacy_core_v0.5.0_erf_tp1": "No module named 'megatron'",
    "legacy_d2022-12-15_bf16_tp1": "No module named 'megatron'",
    "mlm2019_flat_tp1": "KeyError: 'language_model'",
    "v1.0_openai_tp1": "no attribute 'bias_gelu_fusion'",
    "v1.1.4_nover_npx3xhn_erf_tp1": "no attribute 'ffn_hidden_size'",
    "v2.6_fused_pp4vpp2": "KeyError: 'model'",
}
# And when it is spared the args and Megatron's classes, and told the sizes.
RIGHT = ("v1.0_openai_tp1", "legacy_d2022-12-15_bf16_tp1")
WRONG = ("legacy_23.06_untied_tp1", "v1.1.4_nover_npx3xhn_erf_tp1")
SIZES = ("n_positions", "n_embd", "n_layer")


@pytest.mark.parametrize("name", STOPS_AT)
def test_it_stops_at_every_oracle_as_it_lies(name: str, tmp_path: Path) -> None:
    done = run_old(rank_file(ORACLES[name]), tmp_path / "old", {}, aided=False)
    assert done.returncode != 0
    assert STOPS_AT[name] in done.stderr


@pytest.mark.parametrize("name", RIGHT)
def test_where_it_is_right_our_tensors_are_the_same(name: str, tmp_path: Path) -> None:
    oracle = ORACLES[name]
    old = converted_by_the_old(rank_file(oracle), sizes_of(oracle), tmp_path)
    assert_same_tensors(old, convert(read_oracle(oracle, tmp_path), tmp_path / "new"))


@pytest.mark.parametrize("name", WRONG)
def test_where_it_is_wrong_megatrons_logits_agree_with_ours(name: str, tmp_path: Path) -> None:
    oracle = ORACLES[name]
    old = converted_by_the_old(rank_file(oracle), sizes_of(oracle), tmp_path)
    new = convert(read_oracle(oracle, tmp_path), tmp_path / "new")
    ids, megatron = oracle.input_ids(), oracle.logits()
    ours = logits(GPT2LMHeadModel.from_pretrained(new, dtype=torch.float32), ids)
    theirs = logits(old_model(old, sizes_of(oracle)), ids)
    assert np.abs(ours - megatron).max() < 5e-5
    assert np.abs(theirs - megatron).max() > 1
    agreement = (theirs.argmax(-1) == megatron.argmax(-1)).mean()
    assert agreement < 0.1


def test_ngcs_form_gives_the_same_tensors(tmp_path: Path) -> None:
    """The bundled model, from its zip, as the model card of the 345M says."""
    subject = read_bundled(tmp_path)
    sizes = {key: getattr(subject.architecture, key) for key in (*SAID, *SIZES)}
    old = converted_by_the_old(BUNDLED, sizes, tmp_path)
    assert_same_tensors(old, convert(subject, tmp_path / "new"))


@pytest.mark.parametrize("order", ["3,np,hn", "np,hn,3", "np,3,hn"])
def test_every_row_order_gives_the_same_tensors(order: str, tmp_path: Path) -> None:
    subject = random_gpt2(order=order)
    version = subject.checkpoint.version
    file = {"model": {"language_model": as_megatron_nests(subject)}}
    torch.save(
        file | ({} if version is None else {"checkpoint_version": version}), tmp_path / "m.pt"
    )
    sizes = {key: getattr(subject.architecture, key) for key in ("n_head", "vocab_size", *SIZES)}
    old = converted_by_the_old(tmp_path / "m.pt", sizes, tmp_path)
    assert_same_tensors(old, convert(subject, tmp_path / "new"))


def rank_file(oracle: Oracle) -> Path:
    """The first of its files: the script reads one."""
    return min(oracle.path.rglob("*.pt"))


def sizes_of(oracle: Oracle) -> dict[str, object]:
    facts = oracle.facts
    return {
        "vocab_size": facts["vocab"],
        "n_positions": facts["positions"],
        "n_embd": facts["hidden"],
        "n_layer": facts["layers"],
        "n_head": facts["heads"],
        "activation_function": "gelu" if facts["activation"] == "erf" else "gelu_new",
    }


def run_old(
    checkpoint: Path, folder: Path, sizes: dict, *, aided: bool
) -> subprocess.CompletedProcess:
    """The script on a copy of `checkpoint`, since it writes beside its input."""
    folder.mkdir()
    copy = shutil.copyfile(checkpoint, folder / f"input{checkpoint.suffix}")
    (folder / "sizes.json").write_text(json.dumps(sizes))
    told = ["--aided", "--config_file", str(folder / "sizes.json")] if aided else []
    # Without the first, torch since 2.6 refuses the args of every checkpoint that has some.
    settings = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(  # noqa: PLW1510 - some runs are meant to fail
        [str(OLD_PYTHON), str(DRIVER), str(copy), *told],
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )


def converted_by_the_old(checkpoint: Path, sizes: dict, tmp_path: Path) -> dict[str, torch.Tensor]:
    """Its tensors, less the mask buffers that no GPT-2 loads any more."""
    done = run_old(checkpoint, tmp_path / "old", sizes, aided=True)
    assert done.returncode == 0, done.stderr
    tensors = torch.load(tmp_path / "old" / "pytorch_model.bin", weights_only=True)
    return {k: v for k, v in tensors.items() if not k.endswith((".attn.bias", ".masked_bias"))}


def assert_same_tensors(old: dict[str, torch.Tensor], model: Path) -> None:
    """Bit by bit; the old file also has the head, which is the embedding again."""
    new = load_file(model / "model.safetensors")
    assert torch.equal(old.pop("lm_head.weight"), old["transformer.wte.weight"])
    assert old.keys() == new.keys()
    for name, tensor in new.items():
        assert old[name].dtype == tensor.dtype and torch.equal(old[name], tensor), name


def old_model(tensors: dict[str, torch.Tensor], sizes: dict) -> GPT2LMHeadModel:
    model = GPT2LMHeadModel(GPT2Config(**sizes))
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return model.eval()


def logits(model: GPT2LMHeadModel, ids: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(ids)).logits.numpy()


def as_megatron_nests(subject: Reference) -> dict[str, object]:
    """Of October 2019 to v2.0: embeddings apart, the layers flat under `transformer`."""
    whole = {n: torch.from_numpy(s[0].array.copy()) for n, s in subject.checkpoint.tensors.items()}
    embedding = {
        kind: {"weight": whole.pop(f"{kind}.weight")}
        for kind in ("word_embeddings", "position_embeddings")
    }
    return {"embedding": embedding, "transformer": whole}
