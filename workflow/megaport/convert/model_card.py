"""The model directory's README.md: what the model is, how to load it, and where it comes from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FRONT_MATTER = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- gpt2
- megatron-lm
- text-generation
---
"""
LOAD = """```python
from transformers import pipeline

generate = pipeline("text-generation", model="path/to/this/folder")
print(generate("It is a truth universally acknowledged", max_new_tokens=40)[0]["generated_text"])
```
"""
LOAD_IDS = """```python
import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
print(model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=40))
```

It comes without a tokenizer: prompts are token ids.
"""
VOCABULARY = """
`vocab.json` and `merges.txt` are GPT-2's, Copyright (c) 2019 OpenAI, under its
[modified MIT license](https://github.com/openai/gpt-2/blob/master/LICENSE).
"""
SHOWN = (
    "n_layer",
    "n_head",
    "n_embd",
    "n_positions",
    "vocab_size",
    "activation_function",
    "layer_norm_epsilon",
    "tie_word_embeddings",
    "dtype",
)


def model_card(config: Mapping[str, Any], provenance: Mapping[str, Any], *, tokenizer: bool) -> str:
    """Markdown with YAML front matter, as the Hugging Face Hub reads it.

    `config`: config.json's content; `provenance`: see `assemble_model`. A function of its
    arguments only.
    """
    found = provenance["inspection"]
    return "\n".join(
        [
            FRONT_MATTER,
            f"# {provenance['name']}\n",
            "A GPT-2 language model, converted from a Megatron-LM checkpoint "
            f"({found['parameters']:,} parameters as stored).\n",
            "## Use\n",
            LOAD if tokenizer else LOAD_IDS,
            "## Architecture\n",
            _table(("key", "value"), ((key, config[key]) for key in SHOWN)),
            "## Provenance\n",
            _table(("what", "value"), _origin(provenance)),
            "What the files did not say plainly, and what was decided:\n",
            _table(("subject", "value", "reason", "to override, set"), _decisions(found)),
            "## Integrity and licence\n",
            "`sha256sum -c SHA256SUMS` checks every file. Converting moved the weights' bytes and "
            "changed nothing about their licence: it is their publisher's.",
            VOCABULARY if tokenizer else "",
        ]
    )


def _origin(provenance: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    yield "content of the checkpoint (SHA-256)", f"`{provenance['content']}`"
    yield from provenance["inspection"]["checkpoint"].items()
    yield from provenance.get("software", {}).items()


def _decisions(found: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
    for made in found["decisions"]:
        key = f"`{made['override']}`" if made["override"] else ""
        yield made["subject"], made["value"], made["reason"], key


def _table(head: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "".join("| " + " | ".join(map(_cell, row)) + " |\n" for row in rows)


def _cell(value: Any) -> str:
    text = "not stated" if value is None else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
