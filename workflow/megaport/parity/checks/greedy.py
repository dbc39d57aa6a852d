"""Greedy continuation, token by token."""

import numpy as np

from megaport.parity.evidence import Evidence
from megaport.parity.result import Result, equal, judge
from megaport.tensors import Array

NAME = "greedy continuation"
QUESTION = "Does generate() pick, token by token, what the reference would pick?"


def check_greedy(evidence: Evidence) -> Result:
    """generate()'s greedy tokens, each against the reference's best after the same prefix.

    By induction over the tokens this is the reference's own greedy continuation, in one pass.
    """
    seen, chosen = evidence.continuation, evidence.continuation.chosen
    logits = evidence.subject.reference().logits(seen.ids[:, :-1])[0, seen.prompt - 1 :]
    rows = np.arange(len(chosen))
    behind = logits.max(axis=-1) - logits[rows, chosen]
    wrong = np.flatnonzero(~(behind <= 2 * evidence.limit.value))
    return judge(
        NAME,
        QUESTION,
        [equal(f"tokens that differ, of {len(chosen)}", len(wrong), 0)],
        reason="the same model picks the same tokens; only a tie within twice the logit limit may "
        "fall either way",
        note=_first(int(wrong[0]), logits, chosen) if len(wrong) else "",
    )


def _first(token: int, logits: Array, chosen: Array) -> str:
    best = logits[token].argmax()
    return f"first at token {token}: the reference picks {best}, not {chosen[token]}"
