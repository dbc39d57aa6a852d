"""From Snakemake's config dictionary to a checked Config, with errors that name the key."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from megaport.config.model import Config
from megaport.errors import MegaportError


class ConfigError(MegaportError):
    """config.yaml, a --configfile or --config says something the workflow does not understand."""


def load_config(values: Mapping[str, Any]) -> Config:
    """Raises ConfigError with the path of every key that is unknown, mistyped or impossible."""
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors()]
        raise ConfigError(
            "configuration",
            seen="; ".join(problems),
            expected="the keys and types that config.yaml explains",
            remedy="Correct these keys in config.yaml, your --configfile or --config.",
        ) from error


def _problem(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"]) or "the whole"
    if item["type"] == "extra_forbidden":
        return f"{path} is not a key the workflow knows"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{path} = {item['input']!r}: {message}" if item["loc"] else message
