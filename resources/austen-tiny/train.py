"""Trains austen-tiny and writes it as a Hugging Face folder; `export` makes NGC's zip of it.

    python resources/austen-tiny/train.py austen.txt OUT

austen.txt: six novels of Jane Austen, public domain, in one file. Each paragraph is joined to one
line, as people write prompts; the last 5 % are held out. Needs torch, transformers and tokenizers
of requirements.txt. Two processes with a thread each whatever the machine has, so that its number
of cores does not change the result; the kind of CPU and the version of torch may.

So little text is soon learned by heart. Against that: dropout, also before the output; decay of the
embedding; rows that tokens share which are spelt alike, and that start from which tokens stand near
each other. What is still too sure of itself is made less so at the end.
"""

import argparse
import ctypes
import json
import math
import os
import tempfile
import time
from pathlib import Path

os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # the workers are on this machine
import torch
from model import configuration, loss_of, new_model
from novels import CONTEXT, SHORT, VOCABULARY, batches, encode, numbers
from safetensors.torch import save_file
from torch import distributed, multiprocessing
from transformers import GPT2LMHeadModel, GPT2Model

SEED, WORKERS = 0, 2
STEPS, WARM_UP, FLAT = 3200, 100, 0.3
CHEAP = 0.9  # until this share of the steps, SHORT tokens are read at once
SURE = 0.94  # what the logits are multiplied by at the end: by it held-out text is likeliest


def optimizers(model: GPT2Model) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the rest."""
    matrices = [p for p in model.h.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": [model.wte.own, model.wpe.weight], "weight_decay": 0.5},
        {"params": [model.wte.shared], "weight_decay": 0.15},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [
        torch.optim.Muon(
            matrices, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="original"
        ),
        torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.99), fused=True),
    ]


def rate(step: int) -> float:
    """Warm-up, a plateau, then linearly to nothing."""
    return min(1.0, (step + 1) / WARM_UP) * min(1.0, (STEPS - step) / (STEPS * (1 - FLAT)))


def train(ids: torch.Tensor, seen: torch.Tensor, worker: int) -> GPT2Model:
    """The model with the exponential moving average of its weights after the last step.

    Each worker reads its share of every batch; their gradients' mean moves all models alike.
    """
    torch.manual_seed(SEED)
    model = new_model(ids, seen)
    torch.manual_seed(SEED + worker)  # dropout and columns
    bias = torch.zeros(len(seen) + 1)
    bias[-1] = math.log(VOCABULARY - len(seen))
    steppers = optimizers(model)
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, rate) for o in steppers]
    average = [p.detach().clone() for p in model.parameters()]
    start, mean = time.monotonic(), 0.0
    widths = [SHORT if step < STEPS * CHEAP else CONTEXT for step in range(STEPS)]
    for step, (inputs, labels, positions) in enumerate(batches(ids, len(seen), widths, SEED)):
        share = slice(worker, None, WORKERS)
        loss = loss_of(model, (inputs[share], labels[share], positions), bias)
        loss.backward()
        for parameter in model.parameters():
            distributed.all_reduce(parameter.grad)
            parameter.grad /= WORKERS
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for each in (*steppers, *schedules):
            each.step()
        model.zero_grad()
        with torch.no_grad():
            keep = min(0.995, (1 + step) / (10 + step))
            torch._foreach_lerp_(average, list(model.parameters()), 1 - keep)
        mean += loss.item() / 50
        if step % 50 == 49 and worker == 0:
            spent = f"{time.monotonic() - start:.0f} s, {time.process_time():.0f} of CPU"
            print(f"step {step + 1}: loss {mean:.3f}, {spent}", flush=True)
        mean *= step % 50 != 49
    with torch.no_grad():
        torch._foreach_copy_(list(model.parameters()), average)
    return model


def full_size(model: GPT2Model, seen: torch.Tensor) -> dict[str, torch.Tensor]:
    """FP16 tensors with GPT-2's whole vocabulary, less sure of themselves."""
    tensors = {n: p.detach() for n, p in model.named_parameters() if not n.startswith("wte.")}
    for part in ("weight", "bias"):
        tensors[f"ln_f.{part}"] *= SURE
    tensors["wte.weight"] = model.wte().detach()[numbers(seen)]
    return {f"transformer.{name}": one.half().contiguous() for name, one in tensors.items()}


def perplexity(folder: Path, held_out: torch.Tensor, seen: torch.Tensor) -> float:
    """Of the model in `folder`, FP32, over windows of the whole context, each token after the first
    of its window; one token that the novels lack stands for all of them."""
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.cat([seen, torch.tensor([VOCABULARY - 1])])[held_out]
    total, count = 0.0, 0
    with torch.no_grad():
        for window in ids.split(CONTEXT):
            if len(window) > 1:
                loss = model(window[None], labels=window[None]).loss
                total, count = total + float(loss) * (len(window) - 1), count + len(window) - 1
    return math.exp(total / count)


def save(tensors: dict[str, torch.Tensor], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    said = {"architectures": ["GPT2LMHeadModel"], "dtype": "float16"}
    config = configuration(VOCABULARY).to_dict() | said
    (out / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def work(worker: int, text: Path, out: Path, meeting: str) -> None:
    torch.set_num_threads(1)
    for option, value in ((-4, 0), (-1, 2**31 - 1)):  # glibc's M_MMAP_MAX, M_TRIM_THRESHOLD
        ctypes.CDLL(None).mallopt(option, value)  # freed memory is kept: it comes back each step
    distributed.init_process_group("gloo", meeting, rank=worker, world_size=WORKERS)
    ids, held_out, seen = encode(text)
    model = train(ids, seen, worker)
    distributed.destroy_process_group()
    if worker == 0:
        save(full_size(model, seen), out)
        print(f"held-out perplexity {perplexity(out, held_out, seen):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        multiprocessing.spawn(work, (given.text, given.out, meeting), nprocs=WORKERS)


if __name__ == "__main__":
    main()
