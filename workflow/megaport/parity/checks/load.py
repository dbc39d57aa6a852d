"""Whether transformers could load the model at all; said only when it could not."""

from megaport.errors import MegaportError
from megaport.parity.result import Result, equal, judge

NAME = "load"
QUESTION = "Does GPT2LMHeadModel load every tensor and expect no other?"
REASON = "transformers fills what is missing with random numbers and only warns"


def not_loaded(error: MegaportError) -> Result:
    """The failed check, with what transformers said."""
    found = equal("model loaded", "no", "yes")
    return judge(NAME, QUESTION, [found], reason=REASON, note=str(error.seen))
