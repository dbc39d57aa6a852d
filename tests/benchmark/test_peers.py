"""Peers: refused by name where they are missing, right where they are installed."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from megaport.benchmark.peers import llamacpp, vllm
from megaport.benchmark.peers.gguf_file import gguf_name
from megaport.benchmark.registry import open_any
from megaport.generate.device import Placement
from megaport.generate.engines.base import EngineError, Job
from megaport.generate.sampling import Sampling

FP32 = Placement("cpu", "float32", "a test")
MODULES = {"llamacpp": "llama_cpp", "ctranslate2": "ctranslate2", "vllm": "vllm"}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_missing_peer_says_what_to_install(
    tiny: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    device = "cuda" if name == "vllm" else "cpu"
    with pytest.raises(EngineError, match=r"pip install"):
        open_any(name, tiny, Placement(device, "float32", "a test"))


def test_vllm_wants_cuda(tiny: Path) -> None:
    with pytest.raises(EngineError, match="CUDA"):
        open_any("vllm", tiny, FP32)


def test_vllm_is_asked_for_full_length_greedy_ids(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    class Model:
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def generate(self, prompts: Any, params: Any, use_tqdm: bool) -> Any:
            asked.update(params, prompts=prompts)
            out = SimpleNamespace(token_ids=(5,) * params["max_tokens"])
            return [SimpleNamespace(outputs=[out]) for _ in prompts]

    library = SimpleNamespace(LLM=Model, SamplingParams=dict, __version__="1")
    monkeypatch.setitem(sys.modules, "vllm", library)
    engine = vllm.VllmEngine.load(tiny, Placement("cuda", "float16", "a test"))
    assert engine.generate(Job([[1], [2]], 4)) == [[1, 5, 5, 5], [2, 5, 5, 5]]
    assert asked["prompts"] == [{"prompt_token_ids": [1]}, {"prompt_token_ids": [2]}]
    assert (asked["dtype"], asked["temperature"]) == ("float16", 0.0)
    assert asked["ignore_eos"] is True


@pytest.mark.parametrize("job", [Job([[1]], 4, Sampling(False), seeds=[0]), Job([[1]], 4, stop=2)])
def test_a_peer_is_given_greedy_full_length_work_only(job: Job) -> None:
    with pytest.raises(EngineError, match="samples or stops"):
        vllm.VllmEngine(None, "").generate(job)


def test_llamacpps_batch_holds_what_each_row_has_new() -> None:
    columns = ("token", "pos", "n_seq_id", "logits")
    batch = SimpleNamespace(**{name: [0] * 4 for name in columns}, seq_id=[[0] for _ in range(4)])
    ends = llamacpp._fill(batch, [[7, 8, 9], [5]], [1, 0])
    assert (batch.n_tokens, ends) == (3, [1, 2])
    assert batch.token[:3] == [8, 9, 5]
    assert batch.pos[:3] == [1, 2, 0]
    assert [row[0] for row in batch.seq_id[:3]] == [0, 0, 1]
    assert batch.logits[:3] == [False, True, True]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wte.weight", "token_embd.weight"),
        ("h.13.attn.c_attn.bias", "blk.13.attn_qkv.bias"),
        ("h.0.mlp.c_proj.weight", "blk.0.ffn_down.weight"),
        ("ln_f.bias", "output_norm.bias"),
        ("lm_head.weight", "output.weight"),
    ],
)
def test_tensors_have_llamacpps_names(name: str, expected: str) -> None:
    assert gguf_name(name) == expected
