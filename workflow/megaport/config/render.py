"""Writes config.yaml and its JSON schema from the model: `python -m megaport.config.render`."""

import json
import textwrap
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from megaport.config.model import Architecture, Checkpoint, Config, Model, Prompt

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "config.yaml"
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"
# Keys whose values hold further keys that the defaults do not all show.
LEGENDS: dict[str, type[BaseModel]] = {
    "models": Model,
    "prompts": Prompt,
    "checkpoint": Checkpoint,
    "architecture": Architecture,
}
HEADER = """\
# What to build and how. Written by `make config` from workflow/megaport/config/model.py; the values
# are the defaults. Change them here, or better in a file of your own given with --configfile: it
# merges over this one. Unknown keys are refused.
"""


def render_config() -> str:
    return HEADER + _section(Config(), "")


def render_schema() -> str:
    draft = "https://json-schema.org/draft/2020-12/schema"
    schema = {"$schema": draft} | Config.model_json_schema()
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def _legend(model: type[BaseModel], path: str, indent: str) -> list[str]:
    """A comment line for every key a user may add below `path`."""
    lines = []
    for name, field in model.model_fields.items():
        text = f"{path}{name}: {field.description}"
        lines += textwrap.wrap(
            text, 96, initial_indent=f"{indent}#   ", subsequent_indent=f"{indent}#     "
        )
        inner = LEGENDS.get(name) if model is Model else None
        lines += _legend(inner, f"{path}{name}.", indent) if inner else []
    return lines


def _section(value: BaseModel, indent: str) -> str:
    lines = []
    for name, field in type(value).model_fields.items():
        item = getattr(value, name)
        comment = textwrap.wrap(field.description or "", 96 - len(indent))
        lines += ["", *(f"{indent}# {line}" for line in comment)]
        if isinstance(item, BaseModel):
            lines += [f"{indent}{name}:", _section(item, indent + "  ").lstrip("\n").rstrip()]
        else:
            if name in LEGENDS:
                lines += _legend(LEGENDS[name], "", indent)
            lines.append(textwrap.indent(_yaml({name: _plain(item)}), indent).rstrip())
    return "\n".join(lines) + "\n"


def _plain(item: Any) -> Any:
    """Without the keys that only repeat a default, as a person would write it."""
    if isinstance(item, BaseModel):
        return {
            name: _plain(getattr(item, name))
            for name in type(item).model_fields
            if name in item.model_fields_set
        }
    if isinstance(item, dict):
        return {key: _plain(value) for key, value in item.items()}
    return [_plain(value) for value in item] if isinstance(item, list) else item


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
    return str(text)


def main() -> None:
    CONFIG.write_text(render_config(), encoding="utf-8")
    SCHEMA.write_text(render_schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
