"""What to generate from: the configuration's prompts, or one a line of a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from megaport.config.model import Prompt
from megaport.errors import MegaportError


class PromptError(MegaportError):
    """A prompt, or a file of them, that does not say what to generate."""


def parse_prompts(
    entries: Sequence[Mapping[str, Any]], where: str, max_length: int
) -> list[Prompt]:
    """Prompts from objects with Prompt's fields; `max_length` is for those that give none.

    Raises PromptError naming the entry and its key.
    """
    if not entries:
        raise _error(where, "no prompt", "at least one", "Add an entry; {} means unconditional.")
    return [_parse(entry, f"{where}[{number}]", max_length) for number, entry in enumerate(entries)]


def read_prompts(path: Path, max_length: int) -> list[Prompt]:
    """Prompts from a file: `.jsonl` has one object a line, anything else one prompt text a line.

    Blank lines are passed over. Raises PromptError for a file that cannot be read or a line that
    is not a prompt.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _error(
            f"prompts file {path}", error, "a UTF-8 text file", "Correct `generate.prompts_file`."
        ) from error
    read = _json_line if path.suffix == ".jsonl" else _text_line
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    entries = [read(line, f"{path.name}:{number}") for number, line in numbered]
    return parse_prompts(entries, path.name, max_length)


def takeable(prompts: Sequence[Prompt], start: int | None) -> list[Prompt]:
    """Of prompts meant for every model, what one without a tokenizer can take: no text.

    `start` is its start-of-text token; without one, its texts begin with token 0. Where all are
    text, the first one's settings serve for a text from the start.
    """
    kept = [p for p in prompts if p.prompt is None] or [_changed(prompts[0], prompt=None)]
    if start is not None:
        return kept
    return [p if p.token_ids is not None else _changed(p, token_ids=[0]) for p in kept]


def _changed(given: Prompt, **changes: Any) -> Prompt:
    return given.model_copy(update=changes)


def _text_line(line: str, where: str) -> dict[str, Any]:
    return {"prompt": line}


def _json_line(line: str, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise _error(where, error, "a JSON object", "Write one object a line.") from error
    if not isinstance(entry, dict):
        raise _error(where, type(entry).__name__, "a JSON object", "Write one object a line.")
    return entry


def _parse(entry: Mapping[str, Any], where: str, max_length: int) -> Prompt:
    try:
        return Prompt.model_validate({**entry, "max_length": entry.get("max_length") or max_length})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([where, *map(str, first["loc"])])
        raise _error(key, first["input"], first["msg"], "Correct the entry.") from error


def _error(thing: str, seen: object, expected: str, remedy: str) -> PromptError:
    return PromptError(thing, seen=seen, expected=expected, remedy=remedy)
