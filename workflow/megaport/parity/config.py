"""config.json against what the checkpoint says of the architecture."""

from pathlib import Path
from typing import Any

from transformers import AutoConfig

from megaport.parity.converted import unreadable
from megaport.parity.reference import Reference
from megaport.parity.verdict import Verdict, equal, judge


def check_config(reference: Reference, model_dir: Path) -> Verdict:
    """Every field of config.json that changes the mathematics.

    ModelUnreadableError when there is no config.json that transformers reads.
    """
    try:
        config: Any = AutoConfig.from_pretrained(model_dir, local_files_only=True)
    except (OSError, ValueError) as error:
        raise unreadable(model_dir, "config.json", str(error)) from error
    measures = [equal("model_type", config.model_type, reference.architecture.model_type)]
    off = 0
    if measures[0].holds:
        measures += [equal(*field) for field in reference.configured(config)]
        off = config.vocab_size - reference.architecture.vocab_size
    return judge(
        "config",
        "Does config.json describe the checkpoint's architecture?",
        measures,
        reason="these are names and whole numbers; any other value is another model",
        note=f"vocabulary off by {'one' if abs(off) == 1 else off}" if off else "",
    )
