"""From Snakemake's config dictionary to a checked Config, with errors that name the key."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from megaport.config.model import Config, ConfigError
from megaport.config.shorthand import PLACES, SOURCE, written_out

Place = Sequence[str | int]
SCIENTIFIC = re.compile(r"\d+e-?\d+", re.IGNORECASE)


def load_config(values: Mapping[str, Any], unasked: str | list[str] | None = None) -> Config:
    """Raises ConfigError with the path of every key that is unknown, mistyped or impossible.

    `unasked` is what `model` is where nobody says it.
    """
    written = written_out(values, unasked)
    try:
        return Config.model_validate(written)
    except ValidationError as error:
        reread = _reread(written, error)
    try:
        return Config.model_validate(reread)
    except ValidationError as error:
        raise ConfigError(
            "configuration",
            seen="; ".join(dict.fromkeys(map(_problem, error.errors()))),
            expected="the keys and types that config.yaml explains",
            remedy="Correct these keys in config.yaml, your --configfile or --config.",
        ) from error


def _reread(values: dict[str, Any], error: ValidationError) -> Any:
    """Text where something else belongs, as from --config, is read as the YAML it is."""
    for item in error.errors():
        given = item["input"]
        if isinstance(given, str):
            values = _replaced(values, item["loc"], _as_yaml(given))
        elif item["type"] == "string_type" and type(given) is int:
            values = _replaced(values, item["loc"], str(given))
    return values


def _as_yaml(text: str) -> Any:
    if SCIENTIFIC.fullmatch(text):  # text to YAML 1.1
        return float(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _replaced(values: Any, place: Place, new: Any) -> Any:
    """A copy with another value at a place; parts that pydantic adds for unions name no place."""
    if not place:
        return new
    part, rest = place[0], place[1:]
    if isinstance(values, Mapping) and part in values:
        return {**values, part: _replaced(values[part], rest, new)}
    if isinstance(values, list) and isinstance(part, int):
        return [*values[:part], _replaced(values[part], rest, new), *values[part + 1 :]]
    return _replaced(values, rest, new)


def _problem(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"]) or "the whole"
    if item["type"] == "extra_forbidden":
        return f"{path} is not a key the workflow knows{_near(item['loc'])}"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{path} = {item['input']!r}: {message}" if item["loc"] else message


def _near(place: Place) -> str:
    """Which known key an unknown one may stand for, and all that are known beside it."""
    section = _section(place[:-1])
    known = {key: key for key in section.model_fields}
    inner = {name: f"{key}.{name}" for key in known for name in _keys_below(section, key)}
    short = [SOURCE, *PLACES] if section is Config else []
    candidates = {**inner, **dict(zip(short, short, strict=True)), **known}
    near = difflib.get_close_matches(str(place[-1]), candidates, n=1)
    meant = "".join(f" (did you mean {candidates[name]}?)" for name in near)
    return f"{meant}; known here: {', '.join(dict.fromkeys([*known, *short]))}"


def _section(place: Place) -> type[BaseModel]:
    section: type[BaseModel] = Config
    parts = iter(place)
    for part in parts:
        field = section.model_fields[str(part)] if part in section.model_fields else None
        inner = _model_in(field.annotation) if field else None
        section = inner or section
        if field and get_origin(field.annotation) is dict:
            next(parts, None)
    return section


def _keys_below(section: type[BaseModel], key: str) -> list[str]:
    annotation = section.model_fields[key].annotation
    inner = None if get_origin(annotation) is dict else _model_in(annotation)
    return list(inner.model_fields) if inner else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation holds, alone or in a list, a dict or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in get_args(annotation))
    return next((model for model in found if model), None)
