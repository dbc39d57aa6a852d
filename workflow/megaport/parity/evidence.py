"""What the checks look at, made once."""

from dataclasses import dataclass

from megaport.parity.comparison import Comparison, Limit, compare_model, rounding_limit
from megaport.parity.converted import Continuation, Converted
from megaport.parity.inputs import Inputs
from megaport.parity.subject import Subject

# Tokens of greedy continuation, fewer where the context ends before.
NEW_TOKENS = 24


@dataclass(frozen=True)
class Evidence:
    """Both models in float32, their inputs, the limit, the comparison of each input, and the
    converted model's greedy continuation of the prompt."""

    subject: Subject
    converted: Converted
    inputs: Inputs
    limit: Limit
    comparisons: dict[str, Comparison]
    continuation: Continuation


def gather(subject: Subject, converted: Converted, inputs: Inputs) -> Evidence:
    """Run both sides over all inputs; the costly part of parity."""
    limit = rounding_limit(subject, inputs.short)
    comparisons = {
        name: compare_model(subject.reference(), ids, converted.logits, limit.value)
        for name, ids in inputs.sequences.items()
    }
    room = subject.architecture.n_positions - inputs.prompt.shape[1]
    continuation = converted.greedy(inputs.prompt, min(NEW_TOKENS, room))
    return Evidence(subject, converted, inputs, limit, comparisons, continuation)
