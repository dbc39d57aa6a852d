"""Peers: refused by name where they are missing, right where they are installed."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from megaport.benchmark.peers import PEERS, llamacpp
from megaport.benchmark.peers.gguf_file import gguf_name
from megaport.generate.engines import open_engine
from megaport.generate.engines.base import Batch, EngineError
from megaport.generate.sampling import Sampling
from support.tiny_gpt2 import FP32


def test_a_missing_peer_says_what_to_install(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(EngineError, match=r"pip install"):
        open_engine(PEERS["llamacpp"], tiny, FP32)


@pytest.mark.parametrize(
    "batch", [Batch([[1]], 4, Sampling(False), seeds=[0]), Batch([[1]], 4, stop=2)]
)
def test_a_peer_is_given_greedy_full_length_work_only(batch: Batch) -> None:
    with pytest.raises(EngineError, match="samples or stops"):
        llamacpp._require_greedy(batch)


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
