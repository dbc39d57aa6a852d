"""Every layout that Megatron wrote is recognised, read bit for bit, and described rightly."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.model import (
    CORE_RANKS,
    DEEPSPEED_LAYERS,
    LEGACY_RANKS,
    TORCH_DCP,
    TORCH_DIST,
    ZARR,
)
from megaport.checkpoint.open import open_checkpoint
from megaport.checkpoint.spool import SpoolError
from support.edits import at, renamed
from support.megatron_files import RANKED, forms, models, write_checkpoint
from support.megatron_model import Model
from support.oracles import Oracle, oracle_cases
from support.reading import assert_holds, read_whole

# Oracle name -> family, era, QKV order. The rest of the facts stand in each oracle's config.json.
ORACLE_FACTS = {
    "ds_bigscience": (DEEPSPEED_LAYERS, "Megatron-DeepSpeed", "np,3,hn"),
    "legacy_23.06": (LEGACY_RANKS, "January 2021", "np,3,hn"),
    "legacy_core_v0.5.0": (LEGACY_RANKS, "core 0.4", "np,3,hn"),
    "legacy_d2022": (LEGACY_RANKS, "January 2021", "np,3,hn"),
    "mc_core_v0.12.0_torch": (CORE_RANKS, "torch format", "np,3,hn"),
    "mc_core_v0.15.0_dcp": (TORCH_DCP, "torch_dcp", "np,3,hn"),
    "mc_core_v0.15.0_dist": (TORCH_DIST, "torch_dist", "np,3,hn"),
    "mc_core_v0.17.1_torch": (CORE_RANKS, "torch format", "np,3,hn"),
    "mc_core_v0.8.0_zarr": (ZARR, "zarr", "np,3,hn"),
    "mlm2019": (LEGACY_RANKS, "mid 2019", "3,np,hn"),
    "v1.0": (LEGACY_RANKS, "October 2019", "3,np,hn"),
    "v1.1.4": (LEGACY_RANKS, "October 2019", "np,3,hn"),
    "v1.1.5": (LEGACY_RANKS, "v1.1.5 to v2.0", "np,hn,3"),
    "v2.0": (LEGACY_RANKS, "v1.1.5 to v2.0", "np,3,hn"),
    "v2.5": (LEGACY_RANKS, "v2.5", "np,3,hn"),
    "v2.6": (LEGACY_RANKS, "v2.5", "np,3,hn"),
}
ACTIVATIONS = {"tanh": "gelu_new", "openai": "gelu_new", "fused": "gelu_new", "erf": "gelu"}


@pytest.mark.oracle
@pytest.mark.parametrize("oracle", oracle_cases(), ids=lambda oracle: oracle.name)
def test_an_oracle_opens_with_its_facts(oracle: Oracle, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(oracle.path, version=oracle.version, spool=tmp_path)
    architecture = describe_architecture(checkpoint, oracle.architecture)
    known = [facts for name, facts in ORACLE_FACTS.items() if oracle.name.startswith(name)]
    family, era, order = known[0]
    facts = oracle.facts
    assert checkpoint.family == family
    assert era in checkpoint.era
    assert checkpoint.qkv_order == order
    sizes = (checkpoint.tensor_parallel, checkpoint.pipeline_parallel, checkpoint.layers)
    assert sizes == (facts["tp"], facts["pp"], facts["layers"])
    assert checkpoint.virtual_pipeline == facts.get("vpp", 1)
    assert checkpoint.iteration == 7
    assert architecture.activation_function == ACTIVATIONS[facts["activation"]]
    assert architecture.layer_norm_epsilon == facts["eps"]
    assert architecture.tie_word_embeddings is ("untied" not in oracle.name)
    assert architecture.dtype == ("bfloat16" if "bf16" in oracle.name else "float32")
    assert (architecture.n_head, architecture.n_embd) == (facts["heads"], facts["hidden"])
    assert (architecture.n_inner, architecture.n_positions) == (facts["ffn"], facts["positions"])
    assert architecture.vocab_size == facts["vocab"]
    assert architecture.padded_vocab_size == facts["padded_vocab"]
    if "serialization" in facts:
        assert checkpoint.serialization == facts["serialization"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(form=forms(), data=st.data())
def test_any_layout_size_and_dtype_is_read_bit_for_bit(
    form: dict[str, Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("form")
    model = data.draw(models(form))
    checkpoint = read_whole(folder, model, **form)
    assert checkpoint.layers == model.layers
    if form["layout"] in RANKED:
        assert checkpoint.virtual_pipeline == form["vp"]
        assert checkpoint.pipeline_parallel == form["pp"]
    if form["layout"] != "fsdp_dtensor":
        assert checkpoint.tensor_parallel == form["tp"]


def test_tensor_parallel_shards_are_views_of_the_file(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="torch_dist", tp=2)
    checkpoint = open_checkpoint(path, spool=tmp_path / "spool")
    assert len(checkpoint.tensors["layers.1.attention.query_key_value.weight"]) == 2
    assert not (tmp_path / "spool").exists()


def test_tensors_cut_otherwise_are_put_together_in_the_spool(tmp_path: Path) -> None:
    model = Model()
    path = write_checkpoint(tmp_path / "c", model, layout="fsdp_dtensor", tp=3)
    checkpoint = open_checkpoint(path, spool=tmp_path / "spool")
    assert_holds(checkpoint, model)
    assert {len(shards) for shards in checkpoint.tensors.values()} == {1}
    assert list((tmp_path / "spool").iterdir()) == []


def test_chunks_that_would_cut_a_head_are_put_together(tmp_path: Path) -> None:
    edit = at("common", "args", "tensor_model_parallel_size", to=3)
    read_whole(tmp_path, Model(), layout="fsdp_dtensor", tp=3, edit=edit)


def test_a_rank_file_alone_is_a_checkpoint(tmp_path: Path) -> None:
    model = Model(dtype="F16")
    path = write_checkpoint(tmp_path / "c", model, layout="transformer", with_args=False)
    alone = tmp_path / "release.pt"
    next(path.rglob("model_optim_rng.pt")).rename(alone)
    checkpoint = open_checkpoint(alone, spool=tmp_path)
    assert_holds(checkpoint, model)
    assert checkpoint.args is None


def _wrapped(tree: dict[str, Any]) -> dict[str, Any]:
    return {f"module.module.{key}": value for key, value in tree.items()}


def test_module_prefixes_of_wrappers_are_looked_through(tmp_path: Path) -> None:
    read_whole(tmp_path, Model(), layout="core", edit=at("mp_rank", "model", to=_wrapped))


def test_deepspeed_without_a_pipeline_keeps_the_model_in_its_rank_file(tmp_path: Path) -> None:
    model, edit = Model(), renamed("mp_rank", "model", "module")
    path = write_checkpoint(tmp_path / "c", model, layout="encoder", edit=edit)
    here = tmp_path / "ds" / "global_step7"
    here.mkdir(parents=True)
    next(path.rglob("model_optim_rng.pt")).rename(here / "mp_rank_00_model_states.pt")
    assert_holds(open_checkpoint(tmp_path / "ds", spool=tmp_path), model)


def test_an_assembled_tensor_needs_room_in_the_spool(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Model(), layout="fsdp_dtensor", tp=2)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(SpoolError):
        open_checkpoint(path, spool=blocked)
