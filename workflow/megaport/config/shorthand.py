"""A model said in one line: `--config checkpoint=PATH n_head=16`, keys that belong to no section.

With `checkpoint` they make a model named after the file, or by a `model` that nobody has yet; where
`model` names one there is, that model is read from there. Without, they change the models that
`model` names.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megaport.config.model import ArchitectureKeys, CheckpointKeys, ConfigError, Model, expanded
from megaport.fetch.sources import shown

SOURCE = "checkpoint"
# Where each key belongs below a model.
PLACES: dict[str, tuple[str, ...]] = {
    **{key: ("architecture", key) for key in ArchitectureKeys.model_fields},
    **{
        key: ("checkpoint", key)
        for key in CheckpointKeys.model_fields
        if key not in ("path", "urls")
    },
    **{key: (key,) for key in Model.model_fields if key != SOURCE},
}
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
SUFFIX = re.compile(r"(\.(pt|pth|bin|ckpt|zip|nemo|tar|tgz|gz))+$", re.IGNORECASE)
LONGEST = 64  # characters of a file's name that its model keeps


def written_out(values: Mapping[str, Any], unasked: Any = None) -> dict[str, Any]:
    """The same configuration without shorthand. What is of the wrong type stays as it is.

    `unasked` is what `model` is where nobody says it. Raises ConfigError for a `model` that is no
    name beside a `checkpoint`.
    """
    rest = {key: value for key, value in values.items() if key not in {SOURCE, *PLACES}}
    said = {PLACES[key]: value for key, value in values.items() if key in PLACES}
    models = rest.get("models", {})
    if not isinstance(models, Mapping):
        return rest
    rest["models"] = models = dict(models)
    if SOURCE in values:
        checkpoint, chosen = _checkpoint(values[SOURCE]), rest.get("model")
        asked = chosen is not None and chosen != unasked
        if asked and not isinstance(chosen, str):
            raise ConfigError(
                "model beside checkpoint",
                seen=chosen,
                expected="one name for the model that is read from there",
                remedy="Name one, or leave `model` out.",
            )
        rest["model"] = name = chosen if asked else name_of(checkpoint)
        models[name] = _moved(models.get(name, {"tokenizer": "auto"}), checkpoint)
    named = rest.get("model")
    for name in map(str, named if isinstance(named, list) else [named]):
        if said and isinstance(models.get(name), Mapping):
            models[name] = _changed(models[name], said)
    return rest


def _checkpoint(source: Any) -> Any:
    """--config turns a path of digits into a number."""
    if type(source) is int:
        source = str(source)
    if not isinstance(source, str):
        return source
    return {"urls": [source]} if "://" in source else {"path": source}


def _moved(model: Any, checkpoint: Any) -> dict[str, Any]:
    """The model with its bytes from elsewhere; a digest that is pinned still holds."""
    before = model if isinstance(model, Mapping) else {}
    kept = before.get(SOURCE)
    if isinstance(kept, Mapping) and isinstance(checkpoint, Mapping):
        said = {key: value for key, value in kept.items() if key not in ("path", "urls")}
        checkpoint = {**said, **checkpoint}
    return {**before, SOURCE: checkpoint}


def name_of(checkpoint: Any) -> str:
    """The last part of the path or URL, and a few digits of all of it: names that are alike stay
    apart, and the same path has the same name in every run."""
    given = checkpoint if isinstance(checkpoint, Mapping) else {}
    urls = given.get("urls")
    if isinstance(urls, list) and urls:
        whole = shown(str(urls[0]))
        last = Path(whole.partition("?")[0])
    else:
        last = Path(expanded(str(given.get("path", SOURCE)))).absolute()
        whole = str(last)
    readable = UNSAFE.sub("-", SUFFIX.sub("", last.name)).strip("._-")[:LONGEST] or SOURCE
    return f"{readable}-{hashlib.sha256(whole.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"


def _changed(model: Mapping[str, Any], said: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    changed = dict(model)
    for (section, *inner), value in said.items():
        if not inner:
            changed[section] = value
        elif isinstance(before := changed.get(section) or {}, Mapping):
            changed[section] = {**before, inner[0]: value}
    return changed
