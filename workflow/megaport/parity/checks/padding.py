"""A left-padded batch against each of its sequences alone."""

import numpy as np

from megaport.parity.evidence import Evidence
from megaport.parity.result import Result, at_most, judge

NAME = "left padding"
QUESTION = "Does a sequence get the same logits in a left-padded batch as alone?"


def check_padding(evidence: Evidence) -> Result:
    """Sequences of four lengths in one batch; logits after the last token of each."""
    ids = evidence.inputs.short[0]
    rows = [ids[: max(1, len(ids) * quarter // 4)] for quarter in (1, 2, 3, 4)]
    together = evidence.converted.padded_logits(rows)
    alone = np.stack([evidence.converted.logits(row[None])[0, -1] for row in rows])
    difference = float(np.abs(together - alone).max())
    return judge(
        NAME,
        QUESTION,
        [at_most("largest difference of logits", difference, evidence.limit.value)],
        reason="padding is masked and takes no position, so only the order of sums may change: "
        + evidence.limit.reason,
    )
