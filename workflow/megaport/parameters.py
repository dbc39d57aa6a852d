"""The parameters of each step for each model: exactly what may change its result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from megaport.convert.tokenizer import AUTO, FILES, GPT2
from megaport.fetch.sources import shown

if TYPE_CHECKING:  # pydantic, which jobs do without
    from megaport.config.model import Config, Model

Parameters = dict[str, Any]
PARITY_TEXT = "resources/parity/text.txt"
PUBLISHED_IDS = "resources/parity/gpt2_ids.json"


@dataclass(frozen=True)
class Given:
    """What the parameters of a step come from: the configuration, one model of it, and `digest`
    and `contents`, which know a file (None: unreadable) and a local checkpoint by their bytes."""

    config: "Config"
    name: str
    digest: Callable[[str], str | None]
    contents: Callable[[str], dict[str, Any] | None]

    @property
    def model(self) -> "Model":
        return self.config.models[self.name]


def of_download(given: Given) -> Parameters:
    checkpoint = given.model.checkpoint
    if checkpoint.path is None:
        return {"urls": [shown(url) for url in checkpoint.urls]}
    return {"files": given.contents(checkpoint.path)}


def _reading(given: Given) -> Parameters:
    architecture = given.model.architecture.model_dump(exclude_none=True)
    return {"version": given.model.checkpoint.version, "architecture": architecture}


def of_convert(given: Given) -> Parameters:
    model = given.model
    return _reading(given) | {"dtype": model.dtype, "max_shard_size": model.max_shard_size}


def _tokenizer(given: Given) -> str | dict[str, str] | None:
    """What is said of it; of a folder, what lies there by content: paths are not in keys."""
    said = given.model.tokenizer
    if said in (GPT2, AUTO, None):
        return said
    digests = {name: given.digest(f"{said}/{name}") for name in FILES}
    return {name: digest for name, digest in digests.items() if digest}


def of_inspect(given: Given) -> Parameters:
    """The tokenizer and the model's own prompts change nothing but whether they are refused."""
    said = given.model.prompts
    prompts = None if said is None else [prompt.model_dump(mode="json") for prompt in said]
    return _reading(given) | {"tokenizer": _tokenizer(given), "prompts": prompts}


def of_assemble(given: Given) -> Parameters:
    return {"name": given.name, "tokenizer": _tokenizer(given)}


def of_generate(given: Given) -> Parameters:
    settings = given.config.generate.model_dump(mode="json", exclude={"prompts_file"})
    file = given.config.generate.prompts_file
    if given.model.prompts is not None:
        settings["prompts"] = [prompt.model_dump(mode="json") for prompt in given.model.prompts]
    elif file:
        settings["prompts"] = {"file": file, "sha256": given.digest(file)}
    return settings


def of_parity(given: Given) -> Parameters:
    golden = given.model.golden
    may_be_gpt2s = given.model.tokenizer in (GPT2, AUTO)
    read = {
        "dtype": given.model.dtype,
        "golden": golden and given.digest(golden),
        "text": given.digest(PARITY_TEXT),
        "published": given.digest(PUBLISHED_IDS) if may_be_gpt2s else None,
    }
    return _reading(given) | given.config.parity.model_dump(mode="json") | read
