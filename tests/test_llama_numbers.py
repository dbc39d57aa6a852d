"""The class and the numbers of a Llama: what decides each, and what contradicts it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from megaport.checkpoint.inspect import inspect
from megaport.decide import ArchitectureError
from support.llama_files import Llama
from support.llama_models import converted, is_written
from support.megatron_files import write_checkpoint


@pytest.mark.parametrize("size", [None, 4])
def test_what_nobody_states_is_open_in_an_inspection(size: int | None, tmp_path: Path) -> None:
    args = {"num_attention_heads": None, "kv_channels": size}
    path = write_checkpoint(tmp_path / "c", Llama(), layout="core", args=args)
    found = inspect(path, {}, spool=tmp_path)
    assert found["architecture"]["n_head"] is None
    assert found["architecture"]["model_type"] == "llama"
    assert "n_group" in inspect(path, {"num_attention_heads": 4}, spool=tmp_path)["architecture"]


@pytest.mark.parametrize(
    ("model", "args", "kind"),
    [
        (Llama(), {}, "llama"),
        (Llama(bias=True), {}, "qwen2"),
        (Llama(norm=True), {}, "qwen3"),
        (Llama(), {"window_size": (-1, 0)}, "llama"),
        (Llama(), {"window_size": (7, 0)}, "mistral"),
        (Llama(bias=True), {"window_size": (7, 0)}, "qwen2"),
        (Llama(norm=True), {"window_size": (7, 0)}, "qwen3"),
    ],
    ids=lambda value: str(value) if isinstance(value, str | dict) else "",
)
def test_the_class_is_what_can_express_it(
    model: Llama, args: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "c", model, layout="core", args=args)
    architecture, out = converted(path, tmp_path)
    assert architecture.model_type == kind
    config = AutoConfig.from_pretrained(out)
    assert config.model_type == kind
    assert config.rope_parameters["rope_theta"] == 10_000
    windowed = args.get("window_size") == (7, 0)
    assert getattr(config, "sliding_window", None) == (8 if windowed else None)
    loaded, report = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert loaded.config.num_key_value_heads == 2


def test_the_class_may_be_chosen_among_those_that_can(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Llama(), layout="core")
    architecture, _ = converted(path, tmp_path, model_type="mistral")
    assert architecture.model_type == "mistral"
    for kind in ("qwen2", "qwen3", "gpt2"):
        with pytest.raises(ArchitectureError, match="llama or mistral"):
            converted(path, tmp_path, model_type=kind)


def test_heads_that_nobody_states_are_asked_for(tmp_path: Path) -> None:
    silent = {"num_attention_heads": None, "kv_channels": None}
    path = write_checkpoint(tmp_path / "c", Llama(), layout="core", args=silent)
    with pytest.raises(ArchitectureError, match="num_attention_heads"):
        converted(path, tmp_path)
    architecture, out = converted(path, tmp_path, num_attention_heads=4)
    assert architecture.groups == 2
    assert is_written(Llama(), out)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"num_attention_heads": 8}, "num_key_value_heads"),
        ({"num_query_groups": 4}, "num_key_value_heads"),
        ({"group_query_attention": False, "num_query_groups": 1}, "num_key_value_heads"),
        ({"kv_channels": 8}, "head_dim"),
        ({"rotary_base": -1}, "rope_theta"),
        ({"use_rope_scaling": True, "rope_scaling_factor": 0}, "rope_scaling"),
        ({"use_rope_scaling": True, "rotary_seq_len_interpolation_factor": 2}, "one of them"),
        ({"window_size": (-5, 3)}, "sliding_window"),
        ({"add_qkv_bias": True}, "add_qkv_bias"),
        ({"qk_layernorm": True}, "qk_layernorm"),
        ({"max_position_embeddings": 10**70}, "max_position_embeddings"),
    ],
    ids=str,
)
def test_args_that_the_tensors_contradict_are_refused(
    args: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "c", Llama(), layout="core", args=args)
    with pytest.raises(ArchitectureError, match=said):
        converted(path, tmp_path)


@pytest.mark.parametrize(
    ("model", "args", "said"),
    [
        (Llama(norm=True), {"num_attention_heads": 8}, "4, by the size of"),
        (Llama(norm=True, bias=True), {}, "biases and norms"),
    ],
    ids=["other heads", "and biases"],
)
def test_norms_of_queries_beside_what_contradicts_them_are_refused(
    model: Llama, args: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "c", model, layout="core", args=args)
    with pytest.raises(ArchitectureError, match=said):
        converted(path, tmp_path)


def test_heads_that_norms_tell_are_not_to_be_said_otherwise(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Llama(norm=True), layout="core")
    with pytest.raises(ArchitectureError, match="found 2; expected 4, by the size of"):
        converted(path, tmp_path, num_attention_heads=2)


def test_groups_that_ranks_share_are_refused_with_a_way_out(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Llama(groups=1), layout="core", tp=2)
    with pytest.raises(ArchitectureError, match=r"1 groups over 2 ranks.*torch_dist"):
        converted(path, tmp_path)


def test_heads_that_do_not_divide_the_hidden_size_are_no_llamas(tmp_path: Path) -> None:
    model = Llama(heads=6, hidden=16)
    path = write_checkpoint(tmp_path / "c", model, layout="core")
    architecture, out = converted(path, tmp_path)
    assert architecture.model_type == "mistral"
    assert AutoModelForCausalLM.from_pretrained(out).config.num_attention_heads == 6


def test_a_model_without_args_is_said_in_the_configuration(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", Llama(), layout="torch_dist")
    torch.save({"iteration": 7}, path / "iter_0000007" / "common.pt")
    said = {"num_attention_heads": 4, "rope_theta": 5e5}
    _, out = converted(path, tmp_path, **said, rope_scaling_factor=32.0, sliding_window=8)
    config = AutoConfig.from_pretrained(out)
    assert (config.model_type, config.sliding_window) == ("mistral", 8)
    rope = config.rope_parameters
    assert (rope["rope_type"], rope["factor"], rope["rope_theta"]) == ("llama3", 32, 5e5)


@pytest.mark.parametrize("name", ["q", "k"])
def test_one_norm_of_queries_and_keys_is_refused(name: str, tmp_path: Path) -> None:
    def lose(_: str, state: dict[str, Any]) -> None:
        held = state["model"]
        state["model"] = {key: held[key] for key in held if f"{name}_layernorm" not in key}

    path = write_checkpoint(tmp_path / "c", Llama(norm=True), layout="core", edit=lose)
    with pytest.raises(ArchitectureError, match="model_type"):
        converted(path, tmp_path)
