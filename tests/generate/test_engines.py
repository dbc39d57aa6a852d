"""Every engine is the same function: FP32 greedy tokens of model.generate, token by token."""

from pathlib import Path

import pytest
import torch
from transformers import GPT2LMHeadModel

from megaport.generate.device import Placement
from megaport.generate.engines import decoding, fast, network, open_engine
from megaport.generate.engines.base import (
    Batch,
    Engine,
    EngineError,
    NonFiniteLogitsError,
    OutOfMemoryError,
)
from megaport.generate.engines.static import missing_compiler
from megaport.generate.sampling import Sampling
from support.tiny_gpt2 import END, FP32, POSITIONS, write_tiny_gpt2

PROMPTS = [[1, 2, 3], [END], [7] * 40, [200, 5]]


@pytest.fixture(scope="module")
def eager(tiny: Path) -> Engine:
    return open_engine("eager", tiny, FP32)


@pytest.fixture(scope="module")
def ours(tiny: Path) -> Engine:
    return open_engine("fast", tiny, FP32)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_fast_gives_the_greedy_tokens_of_eager(
    eager: Engine, ours: Engine, prompt: list[int]
) -> None:
    batch = Batch([prompt], POSITIONS)
    expected = eager.generate(batch)
    assert ours.generate(batch) == expected
    assert len(set(expected[0])) > 20, "a text that stands still proves nothing"


@pytest.mark.parametrize("engine", ["eager", "fast"])
def test_a_left_padded_batch_gives_each_row_its_own_text(tiny: Path, engine: str) -> None:
    running = open_engine(engine, tiny, FP32)
    alone = [running.generate(Batch([prompt], 50))[0] for prompt in PROMPTS]
    assert running.generate(Batch(PROMPTS, 50)) == alone


def test_a_batch_whose_longest_prompt_is_nearly_full_runs_its_shortest_to_the_end(
    ours: Engine,
) -> None:
    rows = ours.generate(Batch([[3] * (POSITIONS - 1), [4]], POSITIONS))
    assert [len(row) for row in rows] == [POSITIONS, POSITIONS]


def test_eager_refuses_a_batch_that_would_run_past_the_positions(eager: Engine) -> None:
    with pytest.raises(EngineError, match=r"40 \+ 79 positions.*engine: fast"):
        eager.generate(Batch([[3] * 40, [4]], 80))


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("tied", [True, False])
def test_every_activation_and_head_agrees(tmp_path: Path, activation: str, tied: bool) -> None:
    changes = {"activation_function": activation, "tie_word_embeddings": tied, "n_inner": 48}
    model = write_tiny_gpt2(tmp_path, tokenizer=False, **changes)
    batch = Batch([[1, 2, 3]], 48)
    assert open_engine("fast", model, FP32).generate(batch) == open_engine(
        "eager", model, FP32
    ).generate(batch)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("instructions", ["of this CPU", "none for halves"])
def test_sixteen_bits_stay_close_to_float32(
    tiny: Path, ours: Engine, monkeypatch: pytest.MonkeyPatch, dtype: str, instructions: str
) -> None:
    """oneDNN refuses halves on CPUs without the instructions: FP16 on many, BF16 on older ones."""
    if instructions == "none for halves":
        for name in ("_is_mkldnn_bf16_supported", "_is_mkldnn_fp16_supported"):
            monkeypatch.setattr(torch.ops.mkldnn, name, lambda: False)
        monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", not_here)
    low = open_engine("fast", tiny, Placement("cpu", dtype, "a test"))
    batch = Batch([[1, 2, 3]], 8)
    assert low.generate(batch)[0][:5] == ours.generate(batch)[0][:5]


def not_here(weight: torch.Tensor, batch: int) -> torch.Tensor:
    raise RuntimeError(f"mkldnn_reorder_linear_weight: no {weight.dtype} on this CPU")


def test_sharded_weights_are_read(tmp_path: Path, tiny: Path, ours: Engine) -> None:
    model = GPT2LMHeadModel.from_pretrained(tiny)
    model.save_pretrained(tmp_path, max_shard_size="40kB")
    assert not (tmp_path / "model.safetensors").exists()
    batch = Batch([[1]], 24)
    assert open_engine("fast", tmp_path, FP32).generate(batch) == ours.generate(batch)


SAMPLED = Sampling(greedy=False, temperature=0.8, top_k=40, top_p=0.9)


def test_one_sampler_serves_every_engine(eager: Engine, ours: Engine) -> None:
    batch = Batch([[1, 2, 3], [9]], 60, SAMPLED, seeds=[5, 6])
    assert ours.generate(batch) == eager.generate(batch)


def test_a_sampled_row_depends_on_its_seed_and_not_on_its_batch(ours: Engine) -> None:
    together = ours.generate(Batch([[1], [1]], 60, SAMPLED, seeds=[5, 6]))
    alone = [ours.generate(Batch([[1]], 60, SAMPLED, seeds=[seed]))[0] for seed in (5, 6)]
    assert together == alone
    assert alone[0] != alone[1]


@pytest.mark.parametrize("engine", ["eager", "fast"])
def test_a_row_ends_with_its_stop_token_and_others_go_on(tiny: Path, engine: str) -> None:
    running = open_engine(engine, tiny, FP32)
    whole = running.generate(Batch([[1], [2]], 64))
    stop = whole[0][9]
    cut = running.generate(Batch([[1], [2]], 64, stop=stop))
    assert cut[0] == whole[0][: whole[0].index(stop, 1) + 1]
    longer = whole[1][1:]
    end = longer.index(stop) + 2 if stop in longer else 64
    assert cut[1] == whole[1][:end]


def test_the_stop_is_looked_for_only_now_and_then(
    ours: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    inspect = decoding.Decoding.inspect
    monkeypatch.setattr(
        decoding.Decoding, "inspect", lambda s: (looked.append(s.filled), inspect(s))[1]
    )
    ours.generate(Batch([[1]], 1 + 2 * fast.CHECK_EVERY + 1, stop=-2))
    assert len(looked) == 3


def test_buffers_serve_every_job_of_their_form(ours: Engine) -> None:
    first = ours.generate(Batch([[1, 2]], 40))
    kept = ours._decoding  # type: ignore[attr-defined]
    ours.generate(Batch([[9]], 40))
    assert ours.generate(Batch([[1, 2]], 40)) == first
    assert ours._decoding is kept  # type: ignore[attr-defined]
    ours.generate(Batch([[1], [2]], 40))
    assert ours._decoding is not kept  # type: ignore[attr-defined]


@pytest.mark.parametrize("engine", ["eager", "fast"])
def test_every_new_token_is_marked_once(tiny: Path, engine: str) -> None:
    marks: list[None] = []
    batch = Batch([[1, 2], [3]], 20, mark=lambda: marks.append(None))
    open_engine(engine, tiny, FP32).generate(batch)
    assert len(marks) == batch.steps == 19


@pytest.mark.parametrize("engine", ["eager", "fast"])
@pytest.mark.parametrize("sampling", [Sampling(), SAMPLED], ids=["greedy", "sampled"])
def test_fp16_overflow_is_an_error_that_says_so(
    tmp_path: Path, tiny: Path, engine: str, sampling: Sampling
) -> None:
    model = GPT2LMHeadModel.from_pretrained(tiny)
    with torch.no_grad():
        model.transformer.wte.weight.fill_(60000.0)
        model.transformer.wpe.weight.fill_(60000.0)
    model.save_pretrained(tmp_path)
    running = open_engine(engine, tmp_path, Placement("cpu", "float16", "a test"))
    with pytest.raises(NonFiniteLogitsError, match=r"float16.*bfloat16"):
        running.generate(Batch([[1]], 20, sampling, seeds=[0]))


@pytest.mark.parametrize("engine", ["eager", "fast"])
def test_out_of_memory_names_the_batch_and_the_remedy(
    tiny: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = open_engine(engine, tiny, FP32)

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nand a table")

    target = (network.Network, "cache") if engine == "fast" else (GPT2LMHeadModel, "forward")
    monkeypatch.setattr(*target, full)
    with pytest.raises(OutOfMemoryError, match=r"2 rows of 40 tokens.*smaller batch") as caught:
        running.generate(Batch([[1], [2]], 40))
    assert "and a table" not in str(caught.value)


@pytest.mark.parametrize("engine", ["eager", "fast"])
@pytest.mark.parametrize("length", [3, POSITIONS + 1])
def test_a_length_that_cannot_be_is_refused(tiny: Path, engine: str, length: int) -> None:
    with pytest.raises(EngineError, match="max_length"):
        open_engine(engine, tiny, FP32).generate(Batch([[1, 2, 3]], length))


def test_an_unknown_engine_is_refused_by_name(tiny: Path) -> None:
    with pytest.raises(EngineError, match=r"'fats'.*fast, eager, static"):
        open_engine("fats", tiny, FP32)


def test_static_without_a_compiler_says_what_to_install(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert "C++ compiler" in missing_compiler("cpu")
    with pytest.raises(EngineError, match=r"C\+\+ compiler.*engine: fast"):
        open_engine("static", tiny, FP32)


@pytest.mark.slow
def test_static_gives_the_greedy_tokens_of_eager(tiny: Path, eager: Engine) -> None:
    batch = Batch([[1, 2, 3]], 24)
    assert open_engine("static", tiny, FP32).generate(batch) == eager.generate(batch)
