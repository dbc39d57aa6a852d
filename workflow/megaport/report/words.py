"""What people are told of a model when it is there: how to load it, and what came of it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from megaport.report.model import ModelFacts


def loading(model: ModelFacts) -> list[str]:
    """The lines of Python that load a model directory."""
    classes = ["AutoModelForCausalLM", *(["AutoTokenizer"] if model.has_tokenizer else [])]
    names = ("model", "tokenizer")
    return [f"from transformers import {', '.join(classes)}"] + [
        f'{name} = {each}.from_pretrained("{model.folder}")'
        for name, each in zip(names, classes, strict=False)
    ]


def ending(models: Sequence[ModelFacts], more: int, page: Path) -> Iterator[str]:
    """The last lines of a run that went well: `models` that are there, the number of others, and
    the `page` where there is one."""
    for model in (model for model in models if model.digests):
        yield f"model: {model.folder}"
        yield from (f"    {line}" for line in loading(model))
        if model.counts:
            yield f"parity: {model.counts}"
    if more:
        yield f"and {more} more"
    if page.exists():
        yield f"report: {page}"
