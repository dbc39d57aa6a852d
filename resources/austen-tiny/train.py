"""Trains austen-tiny and writes it as a Hugging Face folder; `export` makes NGC's zip of it.

    python resources/austen-tiny/train.py austen.txt OUT

austen.txt: six novels of Jane Austen, public domain, in one file. Each paragraph is joined to one
line, as people write prompts; the last 5 % are held out. Needs torch, transformers and tokenizers
of requirements.txt. Two threads whatever the machine has, so that its number of cores does not
change the result; the kind of CPU and the version of torch may.

Of GPT-2's 50,257 tokens the novels use 15,139. Training over these and one stand-in for all others
costs a third of the time and gives the same softmax: the stand-in's logit gets log(number of the
others) added. In the checkpoint every other token has the stand-in's row, which also zips well.
"""

import argparse
import json
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

GPT2 = Path(__file__).resolve().parents[1] / "gpt2"
VOCABULARY, CONTEXT, SEED, THREADS = 50257, 256, 0, 2
LAYERS, HIDDEN, HEADS, DROPOUT = 4, 160, 4, 0.1
STEPS, BATCH, WARM_UP, FLAT = 2600, 16, 100, 0.3


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


def joined(text: str) -> str:
    """Each paragraph as one line; paragraphs stay apart by empty lines."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def encode(path: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training ids, held-out ids (both compact, unseen ones = count of seen), and the seen ids."""
    tokenizer = ByteLevelBPETokenizer(str(GPT2 / "vocab.json"), str(GPT2 / "merges.txt"))
    text = joined(path.read_text())
    cut = text.rfind("\n\n", 0, int(len(text) * 0.95)) + 2
    parts = [torch.tensor(tokenizer.encode(part).ids) for part in (text[:cut], text[cut:])]
    seen = parts[0].unique()
    compact = torch.full((VOCABULARY,), len(seen))
    compact[seen] = torch.arange(len(seen))
    return compact[parts[0]], compact[parts[1]], seen


def batches(ids: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Shuffled windows of the text, shifted by a random offset every epoch."""
    generator = torch.Generator().manual_seed(SEED)
    windows = (len(ids) - 1) // CONTEXT - 1
    order = torch.empty(0, dtype=torch.long)
    while True:
        if len(order) < BATCH:
            offset = int(torch.randint(CONTEXT, (1,), generator=generator))
            order = torch.randperm(windows, generator=generator) * CONTEXT + offset
        starts, order = order[:BATCH], order[BATCH:]
        yield tuple(torch.stack([ids[s + k : s + k + CONTEXT] for s in starts]) for k in (0, 1))


def new_model(seen: int) -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=seen + 1,
            n_positions=CONTEXT,
            n_embd=HIDDEN,
            n_layer=LAYERS,
            n_head=HEADS,
            activation_function="gelu_new",
            resid_pdrop=DROPOUT,
            embd_pdrop=DROPOUT,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def optimizers(model: GPT2LMHeadModel) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the rest."""
    matrices = [p for _, p in model.transformer.h.named_parameters() if p.ndim == 2]
    embeddings = [model.transformer.wte.weight, model.transformer.wpe.weight]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": embeddings, "weight_decay": 0.1},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [
        torch.optim.Muon(
            matrices, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="original"
        ),
        torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95), fused=True),
    ]


def rate(step: int) -> float:
    """Warm-up, a plateau, then linearly to nothing."""
    return min(1.0, (step + 1) / WARM_UP) * min(1.0, (STEPS - step) / (STEPS * (1 - FLAT)))


def train(ids: torch.Tensor, seen: int) -> dict[str, torch.Tensor]:
    """The exponential moving average of the weights after the last step."""
    torch.manual_seed(SEED)
    model = new_model(seen)
    bias = torch.zeros(seen + 1)
    bias[seen] = math.log(VOCABULARY - seen)
    steppers = optimizers(model)
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, rate) for o in steppers]
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    start = time.monotonic()
    for step, (inputs, labels) in zip(range(STEPS), batches(ids), strict=False):
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.transformer(inputs).last_hidden_state
            logits = functional.linear(hidden, model.lm_head.weight, bias)
            loss = CrossEntropy.apply(logits.flatten(0, 1), labels.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for each in (*steppers, *schedules):
            each.step()
        model.zero_grad()
        with torch.no_grad():
            keep = min(0.995, (1 + step) / (10 + step))
            for name, parameter in model.named_parameters():
                average[name].lerp_(parameter, 1 - keep)
        if step % 50 == 49:
            seconds = time.monotonic() - start
            print(f"step {step + 1}: loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
    return average


def full_size(average: dict[str, torch.Tensor], seen: torch.Tensor) -> dict[str, torch.Tensor]:
    """FP16 tensors with GPT-2's whole vocabulary."""
    compact = average.pop("transformer.wte.weight")
    rows = torch.full((VOCABULARY,), len(seen))
    rows[seen] = torch.arange(len(seen))
    tensors = average | {"transformer.wte.weight": compact[rows]}
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
    config = new_model(VOCABULARY - 1).config.to_dict() | {
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
    ids, held_out, seen = encode(given.text)
    save(full_size(train(ids, len(seen)), seen), given.out)
    model = GPT2LMHeadModel.from_pretrained(given.out, dtype=torch.float32).eval()
    whole = torch.cat([seen, torch.tensor([VOCABULARY - 1])])
    print(f"held-out perplexity {perplexity(model, whole[held_out]):.2f}")


if __name__ == "__main__":
    main()
