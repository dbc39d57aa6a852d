"""YAML beside a model: read as JSON data, and bounded whatever it says."""

import json
from typing import Any

import pytest

from megaport.checkpoint.configuration import BadConfigurationError, read_yaml
from support.torchfiles import region

SHARED = "a0: &a0 [x, x, x]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("num_layers: 2\nmodel: {hidden: 16}\n", {"num_layers": 2, "model": {"hidden": 16}}),
        ("a: &a {b: 1}\nc: {<<: *a}\n", {"a": {"b": 1}, "c": {"b": 1}}),
        ("1: [yes, null, 1.5]\n", {"1": [True, None, 1.5]}),
        (
            "day: 2001-01-01\nset: !!set {a}\nhuge: 0x" + "f" * 999,
            dict.fromkeys(("day", "set", "huge")),
        ),
        (r'odd: "\uDCFF\e[2J"', {"odd": "\\udcff\x1b[2J"}),
    ],
    ids=["plain", "merged", "kinds", "no JSON", "odd text"],
)
def test_a_configuration_is_json_data(text: str, said: Any) -> None:
    found = read_yaml(region(text.encode()))
    assert found == said
    json.dumps(found, ensure_ascii=False).encode("utf-8")


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text",
    [
        SHARED,
        "a: &a " + "x" * 9999 + "\nb: [" + "*a, " * 9999 + "]",
        "a: &a [*a]",
        "a: " + "[" * 9999,
        "day: 2001-99-99",
        "number: " + "9" * 5000,
        "run: !!python/object/apply:os.system [id]",
        "? [1, 2]\n: 3",
        "flag: !!bool maybe",
        "number: !!int ''",
        "day: !!timestamp noon",
        "angle: 1" + ":59" * 500 + ".5",
        "- 1",
        "",
        "\x00",
        "a: 1\n" * 99_999,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_none_or_asks_for_much_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadConfigurationError, match=r"model\.pt"):
        read_yaml(region(text.encode()))
