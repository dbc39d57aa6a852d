"""The network that is trained: GPT-2's, in the forms that are cheapest to train on a CPU.

It knows the tokens that the novels use and one stand-in for all others, which costs a third of the
time and gives the same softmax: the stand-in's logit gets log(number of the others) added. In the
checkpoint every other token has the stand-in's row, which also zips well.
"""

import math

import torch
from novels import CONTEXT, SHORT, neighbours, spelling
from torch.nn import functional
from transformers import GPT2Config, GPT2Model

LAYERS, HIDDEN, HEADS = 6, 160, 4
DROPPED = 46  # of 256
# Where SHORT tokens are read at once, the softmax has a part of its columns: the FREQUENT ones, the
# labels and SOME of the others, drawn anew each step.
FREQUENT, SOME = 2048, 2048


class Dropout(torch.nn.Module):
    """torch's costs four times as much: here a random number serves for eight elements."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        dice = torch.empty(given.numel() // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = dice.view(torch.uint8).view(given.shape) >= DROPPED
        return given * kept.to(given.dtype).mul_(256 / (256 - DROPPED))


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


class Rows(torch.nn.Module):
    """[seen + 1, HIDDEN]: a row of each token's own, and the rows of the parts it is spelt of."""

    def __init__(self, own: torch.Tensor, spelt: torch.Tensor) -> None:
        super().__init__()
        self.own = torch.nn.Parameter(own)
        self.shared = torch.nn.Parameter(torch.zeros(spelt.shape[1], own.shape[1]))
        self.spelt = spelt

    def forward(self) -> torch.Tensor:
        return self.own + self.spelt @ self.shared


def configuration(size: int, **given) -> GPT2Config:
    return GPT2Config(
        vocab_size=size,
        n_positions=CONTEXT,
        n_embd=HIDDEN,
        n_layer=LAYERS,
        n_head=HEADS,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        bos_token_id=size - 1,
        eos_token_id=size - 1,
        **given,
    )


def new_model(ids: torch.Tensor, seen: torch.Tensor) -> GPT2Model:
    """A new one, for the text `ids` in the numbers of `seen`."""
    forms = {"activation_function": "gelu_pytorch_tanh", "attn_implementation": "eager"}
    model = GPT2Model(configuration(1, **forms)).train()
    model.wte = Rows(neighbours(ids, len(seen), HIDDEN), spelling(seen))
    model.drop = Dropout()
    for block in model.h:
        block.attn.resid_dropout = block.mlp.dropout = Dropout()
    return model


def loss_of(model: GPT2Model, batch: tuple[torch.Tensor, ...], bias: torch.Tensor) -> torch.Tensor:
    """Nats a token, the output rows being the input's; `bias`: of the logits, [seen + 1]."""
    inputs, labels, positions = batch
    wanted = labels.flatten()
    table = model.wte()
    rows, shift = table, bias
    if inputs.shape[1] == SHORT:
        some, shift, wanted = columns(wanted, bias)
        rows = functional.embedding(some, table)
    with torch.autocast("cpu", torch.bfloat16):
        given = functional.embedding(inputs, table)
        hidden = model(inputs_embeds=given, position_ids=positions).last_hidden_state
        logits = functional.linear(model.drop(hidden), rows, shift)
        return CrossEntropy.apply(logits.flatten(0, 1), wanted)
