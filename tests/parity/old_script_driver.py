"""Runs in the old environment: the old script as it is, but for the tokenizer it would download.

`python old_script_driver.py [--aided] CHECKPOINT [--config_file JSON]`: else the script's own
arguments. Writes config.json and pytorch_model.bin beside CHECKPOINT, as the script does. `--aided`
spares it what it cannot read: Megatron's classes are made up, and the args are left out.
"""

import sys
from types import ModuleType, SimpleNamespace

from transformers.models.megatron_gpt2 import convert_megatron_gpt2_checkpoint as script

# It asks the hub for a tokenizer only to save it again; tensors and config do not depend on it.
TOKENIZER = SimpleNamespace(save_pretrained=lambda folder: None)
MEGATRON = (
    "megatron",
    "megatron.core",
    "megatron.core.enums",
    "megatron.model",
    "megatron.model.enums",
)


class MadeUp(ModuleType):
    """A module that has any class one asks for: enough to unpickle an enum of an absent package."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda self, *values: None})


def aid():
    sys.modules.update({name: MadeUp(name) for name in MEGATRON})
    load = script.torch.load

    def without_args(*given, **named):
        return {key: value for key, value in load(*given, **named).items() if key != "args"}

    script.torch.load = without_args


script.AutoTokenizer = SimpleNamespace(from_pretrained=lambda name: TOKENIZER)
if "--aided" in sys.argv:
    sys.argv.remove("--aided")
    aid()
script.main()
