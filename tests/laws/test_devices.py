"""Row "config of a GPU when there is none; ... FP16 overflow in generation", for whole runs."""

from pathlib import Path

import torch

from support.checkout import Ran, checkout, configured, content, refuses
from support.megatron_files import write_checkpoint
from support.megatron_model import Model

GPU = {rule: {"device": "cuda"} for rule in ("generate", "benchmark", "parity")}
HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}


def run(snakemake, folder: Path, settings: dict, *targets: str) -> Ran:
    return snakemake(folder, *targets, *configured(folder, settings), **HIDDEN)


def test_config_of_a_gpu_when_there_is_none_is_an_error_in_every_rule(snakemake, built):
    before = content(built)
    ran = run(snakemake, built, GPU, *GPU, "-k")
    assert ran.status != 0 and not ran.computed and "Traceback" not in ran.text, ran.text
    for rule in GPU:
        log = (built / f"results/austen-tiny/run/{rule}.log").read_text()
        assert "device cuda: found no CUDA device" in log, log
        assert "Set `device: auto`" in log
    assert content(built) == before


def test_fp16_overflow_in_generation_is_an_error_and_no_text(snakemake, pristine, tmp_path):
    folder = checkout(tmp_path / "one", pristine)
    model = Model()
    for name in ("word_embeddings.weight", "position_embeddings.weight"):
        model.tensors[name].copy_(torch.full_like(model.tensors[name], 6e4))
    path = write_checkpoint(tmp_path / "loud", model, layout="encoder")
    settings = {
        "model": "loud",
        "models": {"loud": {"checkpoint": {"path": str(path)}, "tokenizer": None}},
        "generate": {"dtype": "float16", "max_length": 4, "prompts": [{"token_ids": [1]}]},
    }
    ran = run(snakemake, folder, settings, "generate")
    refuses(ran, "NaN or infinity in float16", "dtype: bfloat16")
    assert "generate" not in ran.computed, ran.text
    assert not (folder / "results/loud/generations.txt").exists()
