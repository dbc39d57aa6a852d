"""Perplexity of the bundled text on both sides."""

import math

from megaport.parity.evidence import Evidence
from megaport.parity.result import Measure, Result, at_most, judge, not_applicable, short

NAME = "perplexity"
QUESTION = "Do both sides find the text equally likely?"


def check_perplexity(evidence: Evidence) -> Result:
    """exp of the mean negative log likelihood of the next token, on each side."""
    if "text" not in evidence.comparisons:
        return not_applicable(NAME, QUESTION, "the model has no tokenizer to read the text with")
    seen = evidence.comparisons["text"]
    reference, converted = seen.nll
    values = [
        Measure(f"perplexity of the {side}", short(math.exp(min(nll, 700))), "any", True)
        for side, nll in (("reference", reference), ("converted model", converted))
    ]
    gap = at_most(
        "difference of mean nats a token", abs(reference - converted), evidence.limit.value
    )
    return judge(
        NAME,
        QUESTION,
        [*values, gap],
        reason=f"a mean log likelihood moves less than the logits may: {evidence.limit.reason}",
        note=f"{seen.positions} tokens of the text",
    )
