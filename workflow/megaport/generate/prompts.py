"""What to generate from: one request a prompt, from config or from a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from megaport.errors import MegaportError


class PromptError(MegaportError):
    """A prompt list or prompts file that does not say what to generate."""


@dataclass(frozen=True)
class PromptRequest:
    """One prompt and how to continue it.

    `prompt` is text, `token_ids` are ids; neither means unconditional (from the BOS token).
    `max_length` counts the prompt, as in the model card. With `do_sample` the returned sequences
    use seeds `seed`, `seed + 1`, ...; without, `num_return_sequences` must be 1.
    """

    prompt: str | None = None
    token_ids: tuple[int, ...] | None = None
    do_sample: bool = False
    seed: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_length: int = 32
    num_return_sequences: int = 1

    def settings(self) -> dict[str, Any]:
        """What was asked for beside the prompt, for the record."""
        chosen = {"do_sample": self.do_sample, "max_length": self.max_length}
        if not self.do_sample:
            return chosen
        sampled = {"seed": self.seed, "temperature": self.temperature}
        return {**chosen, **sampled, "top_k": self.top_k, "top_p": self.top_p}


def parse_prompts(entries: Sequence[Mapping[str, Any]], where: str) -> list[PromptRequest]:
    """Requests from objects with PromptRequest's fields. Raises PromptError naming the entry."""
    if not entries:
        raise _error(where, "no prompt", "at least one", "Add an entry; {} means unconditional.")
    return [_parse(entry, f"{where}[{number}]") for number, entry in enumerate(entries)]


def read_prompts(path: Path, defaults: Mapping[str, Any] | None = None) -> list[PromptRequest]:
    """Requests from a file: `.jsonl` has one object a line, anything else one prompt text a line.

    `defaults` are the settings of what a line does not say. Blank lines are passed over. Raises
    PromptError for a file that cannot be read or a line that is not a prompt.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _error(
            f"prompts file {path}", str(error), "a UTF-8 text file", "Correct `generate.prompts`."
        ) from error
    read = _json_line if path.suffix == ".jsonl" else _text_line
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    entries = [read(line, f"{path.name}:{number}") for number, line in numbered]
    return parse_prompts([{**(defaults or {}), **entry} for entry in entries], path.name)


def _text_line(line: str, where: str) -> dict[str, Any]:
    return {"prompt": line}


def _json_line(line: str, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise _error(where, str(error), "a JSON object", "Write one object a line.") from error
    if not isinstance(entry, dict):
        raise _error(where, type(entry).__name__, "a JSON object", "Write one object a line.")
    return entry


def _parse(entry: Mapping[str, Any], where: str) -> PromptRequest:
    known = [field.name for field in fields(PromptRequest)]
    if unknown := sorted(set(entry) - set(known)):
        raise _error(where, ", ".join(unknown), f"keys among {', '.join(known)}", "Remove the key.")
    values = dict(entry)
    if isinstance(values.get("token_ids"), list):
        values["token_ids"] = tuple(values["token_ids"])
    request = PromptRequest(**values)
    for field, right, expected in _rules(request):
        if not right:
            raise _error(
                f"{where}.{field}", getattr(request, field), expected, "Correct the value."
            )
    return request


def _rules(r: PromptRequest) -> list[tuple[str, bool, str]]:
    one_source = r.prompt is None or r.token_ids is None
    return [
        ("prompt", r.prompt is None or (isinstance(r.prompt, str) and bool(r.prompt)), "a text"),
        ("prompt", one_source, "either a prompt or token_ids"),
        ("token_ids", r.token_ids is None or _are_ids(r.token_ids), "a list of ids of 0 or more"),
        ("do_sample", isinstance(r.do_sample, bool), "true or false"),
        ("seed", _whole(r.seed, 0) and r.seed < 2**63, "a whole number of 0 or more"),
        ("temperature", _number(r.temperature) and r.temperature > 0, "a number above 0"),
        ("top_k", _whole(r.top_k, 0), "a whole number; 0 keeps every token"),
        ("top_p", _number(r.top_p) and 0 < r.top_p <= 1, "a number above 0 and up to 1"),
        ("max_length", _whole(r.max_length, 2), "a whole number of 2 or more"),
        ("num_return_sequences", _whole(r.num_return_sequences, 1), "a whole number of 1 or more"),
        (
            "num_return_sequences",
            r.do_sample or r.num_return_sequences == 1,
            "1, since greedy sequences would all be the same (or do_sample: true)",
        ),
    ]


def _are_ids(ids: Any) -> bool:
    return isinstance(ids, tuple) and bool(ids) and all(_whole(token, 0) for token in ids)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _error(thing: str, seen: object, expected: str, remedy: str) -> PromptError:
    return PromptError(thing, seen=seen, expected=expected, remedy=remedy)
