"""Whether the checkpoint was read rightly at all: both sides would share a wrong row order."""

import numpy as np

from megaport.checkpoint.model import QKV_ORDERS
from megaport.parity.comparison import log_softmax
from megaport.parity.inputs import Inputs
from megaport.parity.result import Result, at_most, judge, not_applicable, short
from megaport.parity.subject import Subject
from megaport.tensors import Array

NAME = "reading"
QUESTION = "Is the text likeliest with the row order the checkpoint was read with?"
TOKENS = 256
# A trained model read in another order loses several nats a token, a random one next to nothing.
MARGIN = 0.5


def check_reading(subject: Subject, inputs: Inputs) -> Result:
    """Mean nats a token of the text's start in every row order of query_key_value."""
    if inputs.text is None:
        return not_applicable(NAME, QUESTION, "the model has no tokenizer to read the text with")
    ids = inputs.text[:1, :TOKENS]
    nats = {order: _nats(subject, order, ids) for order in QKV_ORDERS}
    mine = subject.checkpoint.qkv_order
    best = min(nats, key=lambda order: nats[order])
    gain = at_most(
        f"nats a token that another order than [{mine}] gains", nats[mine] - nats[best], MARGIN
    )
    found = ", ".join(f"[{order}] {short(value)}" for order, value in nats.items())
    advice = "" if gain.holds else f"QKV order: the text reads better as [{best}]; "
    return judge(
        NAME,
        QUESTION,
        [gain],
        reason="a wrong order costs a trained model several nats a token, and moves a model that "
        f"knows nothing by less than {MARGIN:g}",
        note=f"{advice}nats a token: {found}",
    )


def _nats(subject: Subject, order: str, ids: Array) -> float:
    logits = subject.with_tensors({}, qkv_order=order).reference().logits(ids)[0, :-1]
    following = ids[0, 1:]
    return -float(log_softmax(logits)[np.arange(len(following)), following].mean())
