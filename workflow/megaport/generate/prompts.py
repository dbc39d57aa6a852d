"""What to generate from: the configuration's prompts, or one a line of a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from megaport.config.model import Prompt
from megaport.errors import MegaportError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class PromptError(MegaportError):
    """A prompt, or a file of them, that does not say what to generate."""


@dataclass(frozen=True)
class Takes:
    """What a model takes: ids below `vocabulary`, texts of up to `positions` tokens; the id that
    begins a text and the tokenizer, where it has them."""

    vocabulary: int
    positions: int
    bos: int | None
    tokenizer: "Tokenizer | None"


def token_ids(prompt: Prompt, takes: Takes) -> list[int]:
    """The prompt's ids. Raises PromptError where the model cannot take it or not go on from it."""
    ids = _ids(prompt, takes)
    if wrong := [token for token in ids if token >= takes.vocabulary]:
        raise _error("token_ids", wrong[:5], f"ids below {takes.vocabulary}", "Correct the ids.")
    length = prompt.max_length or takes.positions
    if not len(ids) < length <= takes.positions:
        raise _error(
            "max_length",
            f"{length} for a prompt of {len(ids)} tokens",
            f"more than the prompt, at most the model's {takes.positions} positions",
            "Correct `max_length`, or shorten the prompt.",
        )
    return ids


def _ids(prompt: Prompt, takes: Takes) -> list[int]:
    if prompt.token_ids is not None:
        return prompt.token_ids
    if prompt.prompt is None:
        if takes.bos is None:
            seen = "a model without bos_token_id"
            raise _error("unconditional prompt", seen, "one", "Give token_ids.")
        return [takes.bos]
    if takes.tokenizer is None:
        raise _error(
            f"prompt {prompt.prompt!r}",
            "a model without tokenizer",
            "token_ids",
            "Give `token_ids`, or set the model's `tokenizer`.",
        )
    ids: list[int] = takes.tokenizer.encode(prompt.prompt).ids
    return ids


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
    objects = path.suffix == ".jsonl"
    entries = [
        _json_line(line, f"{path.name}:{number}") if objects else {"prompt": line}
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    return parse_prompts(entries, path.name, max_length)


def takeable(prompts: Sequence[Prompt], takes: Takes) -> list[Prompt]:
    """Of prompts meant for every model, what this one can take: texts no longer than its positions,
    no text without a tokenizer.

    Without a start-of-text token its texts begin with token 0. Where all are text, the first one's
    settings serve for a text from the start.
    """
    kept = [p for p in prompts if p.prompt is None or takes.tokenizer]
    kept = kept or [_changed(prompts[0], prompt=None)]
    if takes.bos is None:
        without = [p for p in kept if p.prompt is None and p.token_ids is None]
        kept = [_changed(p, token_ids=[0]) if p in without else p for p in kept]
    longest = takes.positions
    return [_changed(p, max_length=min(p.max_length or longest, longest)) for p in kept]


def _changed(given: Prompt, **changes: Any) -> Prompt:
    return given.model_copy(update=changes)


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
