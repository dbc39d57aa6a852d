"""The reference's logits against GPT2LMHeadModel's in float32."""

from megaport.parity.evidence import Evidence
from megaport.parity.result import Result, at_most, equal, judge

NAME = "logits"
QUESTION = "Does GPT2LMHeadModel in float32 give the logits that Megatron's own mathematics gives?"
# float64 arithmetic on float32 logits: KL below this is the noise of the sum over the vocabulary.
KL_FLOOR = 1e-9


def check_logits(evidence: Evidence) -> Result:
    """Largest difference, KL divergence and argmax of every input, full context length included."""
    limit = evidence.limit.value
    measures = []
    for name, seen in evidence.comparisons.items():
        where = f"{name}, {seen.positions} positions"
        measures += [
            at_most(f"largest difference ({where})", seen.max_abs, limit),
            at_most(f"largest KL divergence, nats ({where})", seen.kl_max, max(KL_FLOOR, limit**2)),
            equal(f"argmax disagreements ({where})", seen.disagreements, 0),
        ]
    ties = sum(seen.ties for seen in evidence.comparisons.values())
    return judge(
        NAME,
        QUESTION,
        measures,
        reason=f"difference: {evidence.limit.reason}; KL: a difference of e in every logit moves "
        "KL by at most about e squared; argmax: only a tie within twice the limit may fall "
        "either way",
        note=f"{ties} ties" if ties else "",
    )
