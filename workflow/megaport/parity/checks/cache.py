"""One token at a time through the KV cache, against the whole sequence at once."""

import numpy as np

from megaport.parity.evidence import Evidence
from megaport.parity.result import Result, at_most, judge

NAME = "kv cache"
QUESTION = "Does the model say the same with the KV cache as without?"


def check_cache(evidence: Evidence) -> Result:
    """Largest difference of all logits of the greedy continuation."""
    seen = evidence.continuation
    at_once = evidence.converted.logits(seen.ids[:, :-1])[0, seen.prompt - 1 :]
    difference = float(np.abs(seen.logits - at_once).max())
    return judge(
        NAME,
        QUESTION,
        [at_most("largest difference of logits", difference, evidence.limit.value)],
        reason=f"the cache changes only the order of sums: {evidence.limit.reason}",
        note=f"{len(seen.chosen)} tokens after a prompt of {seen.prompt}",
    )
