"""The model directory's README.md: what the model is, how to load it, and where it comes from."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from megaport.errors import shown_text

LONGEST = 500  # characters of a cell: what a file says may be of any length

CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- {model_type}
- megatron-lm
- text-generation
---

# {name}

A `{class_name}`, converted from a Megatron-LM checkpoint ({parameters:,} parameters as stored).

## Use

{use}
## Architecture

{architecture}
## Provenance

{origin}
What the files did not say plainly, and what was decided:

{decisions}
## Integrity and licence

`sha256sum -c SHA256SUMS` checks every file. Converting changed nothing about the weights' licence:
it is their publisher's.
{vocabulary}"""
PIPELINE = """```python
from transformers import pipeline

generate = pipeline("text-generation", model="path/to/this/folder")
print(generate("It is a truth universally acknowledged", max_new_tokens=40)[0]["generated_text"])
```
"""
TOKEN_IDS = """```python
import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
print(model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=40))
```

It comes without a tokenizer: prompts are token ids.
"""
NARROW = """
The weights are stored in {stored}. Where nothing is said they are loaded in {loaded}, which CPUs
compute fast and Trainer needs. On a GPU say so, for half the memory:

```python
import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("path/to/this/folder", dtype=torch.{stored}).cuda()
```
"""
QWEN2 = """
transformers 5 splits text for every Qwen2 as Qwen's tokenizer does, whatever tokenizer.json says.
Where this tokenizer is not Qwen's, load it with `PreTrainedTokenizerFast.from_pretrained` and hand
it to `pipeline` as `tokenizer`.
"""
VOCABULARY = """
`vocab.json` and `merges.txt` are GPT-2's, Copyright (c) 2019 OpenAI, under its
[modified MIT license](https://github.com/openai/gpt-2/blob/master/LICENSE).
"""


def model_card(
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    *,
    stored: str,
    tokenizer: bool,
    published: bool,
) -> str:
    """Markdown with YAML front matter, as the Hugging Face Hub reads it.

    `config`: config.json's content; `provenance`: see `assemble_model`; `stored`: the weights'
    dtype by torch's name; `published`: the tokenizer is GPT-2's. A function of its arguments only.
    """
    found = provenance["inspection"]
    made = [*found["decisions"], *provenance.get("decisions", ())]
    loaded = config["dtype"]
    narrow = "" if stored == loaded else NARROW.format(stored=stored, loaded=loaded)
    split = QWEN2 if tokenizer and config["model_type"] == "qwen2" else ""
    return CARD.format(
        model_type=config["model_type"],
        name=provenance["name"],
        class_name=config["architectures"][0],
        parameters=found["parameters"],
        use=(PIPELINE if tokenizer else TOKEN_IDS) + narrow + split,
        architecture=_table(("key", "value"), found["architecture"].items()),
        origin=_table(("what", "value"), _origin(provenance)),
        decisions=_table(("subject", "value", "reason", "to override, set"), map(_decision, made)),
        vocabulary=VOCABULARY if published else "",
    )


def _origin(provenance: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    yield "content of the checkpoint (SHA-256)", f"`{provenance['content']}`"
    yield from provenance["inspection"]["checkpoint"].items()
    yield from provenance.get("software", {}).items()


def _decision(made: Mapping[str, Any]) -> tuple[Any, ...]:
    key = f"`{made['override']}`" if made["override"] else ""
    return made["subject"], made["value"], made["reason"], key


def _table(head: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "".join("| " + " | ".join(map(_cell, row)) + " |\n" for row in rows)


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "<br>".join(map(_cell, value))
    text = "not stated" if value is None else shown_text(str(value), LONGEST)
    return escape(text, quote=False).replace("|", "\\|")
