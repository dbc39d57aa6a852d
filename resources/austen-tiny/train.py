"""Trains austen-tiny and writes it as a Hugging Face folder; `export` makes NGC's zip of it.

    python resources/austen-tiny/train.py austen.txt OUT

austen.txt: six novels of Jane Austen, public domain, in one file. Each paragraph is joined to one
line, as people write prompts; the last 5 % are held out. Needs torch, transformers and tokenizers
of requirements.txt. Two threads whatever the machine has, so that its number of cores does not
change the result; the kind of CPU and the version of torch may.

Training over the tokens that the novels use and one stand-in for all others costs a third of the
time and gives the same softmax: the stand-in's logit gets log(number of the others) added. In the
checkpoint every other token has the stand-in's row, which also zips well.

So little text is soon learned by heart. Against that: dropout, also before the output, and decay of
the embedding, whose rows start from which tokens stand near each other; what is still too sure of
itself is made less so at the end. A step is made cheap: until the last of them, half of the context
is read at once and a part of the softmax serves for it.
"""

import argparse
import ctypes
import json
import math
import os
import time
from pathlib import Path

# Before torch: a thread that waits leaves its core to others.
os.environ["OMP_WAIT_POLICY"] = "passive"
import torch
from novels import CONTEXT, VOCABULARY, batches, encode, neighbours, numbers
from safetensors.torch import save_file
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

SEED, THREADS = 0, 2
LAYERS, HIDDEN, HEADS, DROPOUT = 4, 160, 4, 0.12
STEPS, WARM_UP, FLAT = 3200, 100, 0.3
# Until this share of the steps, SHORT tokens are read at once and the softmax has a part of its
# columns: the FREQUENT ones, the labels and SOME of the others, drawn anew each step.
CHEAP, SHORT, FREQUENT, SOME = 0.9, 128, 2048, 2048
SURE = 0.9  # what the logits are multiplied by at the end: by it held-out text is likeliest


class CrossEntropy(torch.autograd.Function):
    """Mean cross entropy whose gradient takes the place of the logits, 64 rows at a time."""

    @staticmethod
    def forward(ctx, logits, labels):
        likely = []
        for rows, wanted in zip(logits.split(64), labels.split(64), strict=True):
            gradient = rows.softmax(-1, dtype=torch.float32)
            likely.append(gradient.gather(1, wanted[:, None]))
            gradient[torch.arange(len(wanted)), wanted] -= 1
            rows.copy_(gradient.mul_(1 / len(logits)))
        ctx.save_for_backward(logits)
        return -torch.cat(likely).log().mean()

    @staticmethod
    def backward(ctx, gradient):
        (logits,) = ctx.saved_tensors
        return logits.mul_(gradient), None


def columns(labels: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Which columns stand for the whole softmax, their bias, and the labels' places among them.

    Frequent tokens and the labels as they are, a few of the others for all others: each has the
    logarithm of how many it stands for added, so that the sum is right on average.
    """
    kept = torch.zeros(len(bias), dtype=torch.bool)
    kept[:FREQUENT] = kept[labels] = True
    others = (~kept).nonzero()[:, 0]
    drawn = others[torch.randint(len(others), (SOME,))]
    share = torch.full((SOME,), math.log(len(others) / SOME))
    tokens = kept.nonzero()[:, 0]
    return (
        torch.cat([tokens, drawn]),
        torch.cat([bias[tokens], bias[drawn] + share]),
        kept.cumsum(0)[labels] - 1,
    )


def new_model(size: int, **given) -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=size,
        n_positions=CONTEXT,
        n_embd=HIDDEN,
        n_layer=LAYERS,
        n_head=HEADS,
        resid_pdrop=DROPOUT,
        embd_pdrop=DROPOUT,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        **given,
    )
    return GPT2LMHeadModel(config)


def optimizers(model: GPT2LMHeadModel) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the rest."""
    matrices = [p for p in model.transformer.h.parameters() if p.ndim == 2]
    embeddings = [model.transformer.wte.weight, model.transformer.wpe.weight]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": embeddings, "weight_decay": 0.15},
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


def train(ids: torch.Tensor, seen: int) -> dict[str, torch.Tensor]:
    """The exponential moving average of the weights after the last step."""
    torch.manual_seed(SEED)
    # GPT-2's "gelu_new" and attention, in the forms that are cheapest here
    model = new_model(
        seen + 1, activation_function="gelu_pytorch_tanh", attn_implementation="eager"
    ).train()
    output = model.transformer.wte.weight
    output.data.copy_(neighbours(ids, seen, HIDDEN))
    bias = torch.zeros(seen + 1)
    bias[seen] = math.log(VOCABULARY - seen)
    steppers = optimizers(model)
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, rate) for o in steppers]
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    start, mean = time.monotonic(), 0.0
    widths = [SHORT if step < STEPS * CHEAP else CONTEXT for step in range(STEPS)]
    for step, (inputs, labels, positions) in enumerate(batches(ids, seen, widths)):
        rows, shift, wanted = output, bias, labels
        if widths[step] == SHORT:
            some, shift, wanted = columns(labels, bias)
            rows = functional.embedding(some, output)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.transformer(inputs, position_ids=positions).last_hidden_state
            logits = functional.linear(functional.dropout(hidden, DROPOUT), rows, shift)
            loss = CrossEntropy.apply(logits.flatten(0, 1), wanted)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for each in (*steppers, *schedules):
            each.step()
        model.zero_grad()
        with torch.no_grad():
            keep = min(0.995, (1 + step) / (10 + step))
            for name, parameter in model.named_parameters():
                average[name].lerp_(parameter, 1 - keep)
        mean += loss.item() / 50
        if step % 50 == 49:
            spent = f"{time.monotonic() - start:.0f} s, {time.process_time():.0f} of CPU"
            print(f"step {step + 1}: loss {mean:.3f}, {spent}", flush=True)
            mean = 0.0
    return average


def full_size(average: dict[str, torch.Tensor], seen: torch.Tensor) -> dict[str, torch.Tensor]:
    """FP16 tensors with GPT-2's whole vocabulary, less sure of themselves."""
    rows = average["transformer.wte.weight"][numbers(seen)]
    last = {f"transformer.ln_f.{part}" for part in ("weight", "bias")}
    tensors = {name: SURE * tensor if name in last else tensor for name, tensor in average.items()}
    tensors["transformer.wte.weight"] = rows
    return {name: tensor.half().contiguous() for name, tensor in tensors.items()}


def perplexity(model: GPT2LMHeadModel, ids: torch.Tensor) -> float:
    """Over windows of the whole context, FP32, each token after the first of its window."""
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
    config = new_model(VOCABULARY).config.to_dict() | {
        "architectures": ["GPT2LMHeadModel"],
        "bos_token_id": VOCABULARY - 1,
        "eos_token_id": VOCABULARY - 1,
        "dtype": "float16",
    }
    (out / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    for option, value in ((-4, 0), (-1, 2**31 - 1)):  # glibc's M_MMAP_MAX, M_TRIM_THRESHOLD
        ctypes.CDLL(None).mallopt(option, value)  # freed memory is kept: it comes back each step
    ids, held_out, seen = encode(given.text)
    save(full_size(train(ids, len(seen)), seen), given.out)
    model = GPT2LMHeadModel.from_pretrained(given.out, dtype=torch.float32).eval()
    whole = torch.cat([seen, torch.tensor([VOCABULARY - 1])])
    print(f"held-out perplexity {perplexity(model, whole[held_out]):.2f}")


if __name__ == "__main__":
    main()
