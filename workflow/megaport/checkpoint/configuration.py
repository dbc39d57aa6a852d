"""A configuration in YAML beside a model, such as NeMo's, as JSON data and nothing else."""

from functools import partial
from typing import Any

import yaml

from megaport.checkpoint.regions import Region
from megaport.errors import MegaportError, encodable, shown_text

# NeMo's have 20 kB; PyYAML reads 0.1 MB a second.
_MOST_BYTES, _MOST_CHARACTERS = 1 << 17, 1 << 20
_MOST_BITS = 256


class BadConfigurationError(MegaportError):
    """A YAML file that is damaged, or asks for more than a configuration needs."""


_bad = partial(
    BadConfigurationError,
    expected=f"a mapping in YAML of at most {_MOST_BYTES} bytes",
    remedy="Get the file again, or unpack the checkpoint and correct it.",
)


def read_yaml(region: Region) -> dict[str, Any]:
    """What the file says, by key; dates, sets and whatever else JSON lacks are None.

    Raises `BadConfigurationError` for what is no mapping in YAML, or too large, also when what its
    aliases share is written out.
    """
    if region.size > _MOST_BYTES:
        raise _bad(region.name, f"{region.size} bytes")
    try:
        said = _plain(yaml.safe_load(bytes(region.view).decode("utf-8")), [0])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _bad(region.name, shown_text(str(error), 160)) from None
    if not isinstance(said, dict):
        raise _bad(region.name, shown_text(said))
    return said


def _plain(value: Any, spent: list[int]) -> Any:
    spent[0] += 8 + (len(value) if isinstance(value, str) else 0)
    if spent[0] > _MOST_CHARACTERS:
        raise ValueError(f"over {_MOST_CHARACTERS} characters, shared parts written out")
    if isinstance(value, dict):
        return {encodable(str(key)): _plain(item, spent) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, spent) for item in value]
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return None
    return value if isinstance(value, bool | int | float) else None
