"""config.yaml, its schema and the errors of a user's configuration."""

import difflib

import pytest
import yaml

from megaport.config.load import ConfigError, load_config
from megaport.config.model import Config
from megaport.config.render import CONFIG, SCHEMA, render_config, render_schema

MODELS = {"m": {"checkpoint": {"path": "m.pt"}}}


@pytest.mark.parametrize(
    ("path", "rendered"),
    [(CONFIG, render_config()), (SCHEMA, render_schema())],
    ids=["yaml", "schema"],
)
def test_committed_files_are_what_the_model_says(path, rendered):
    committed = path.read_text(encoding="utf-8")
    drift = "".join(
        difflib.unified_diff(
            committed.splitlines(True), rendered.splitlines(True), path.name, "`make config`"
        )
    )
    assert not drift, drift


def test_the_yaml_loads_to_the_defaults():
    assert load_config(yaml.safe_load(CONFIG.read_text())) == Config()


def test_every_key_is_explained():
    unexplained = [
        f"{section}.{key}"
        for section, schema in Config.model_json_schema()["$defs"].items()
        for key, value in schema["properties"].items()
        if not value.get("description")
    ]
    assert unexplained == []


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"modle": "m"}, "modle is not a key"),
        (
            {"models": {"m": {"checkpoint": {"path": "m.pt", "sha": "x"}}}},
            "models.m.checkpoint.sha",
        ),
        ({"model": "nobody"}, "nobody"),
        ({"model": []}, "`model` names nothing"),
        (
            {"models": {"m": {"checkpoint": {"path": "a", "urls": ["https://b"]}}}},
            "models.m.checkpoint",
        ),
        ({"models": {"m": {"checkpoint": {}}}}, "either `path` or `urls`"),
        ({"models": {"m": {"checkpoint": {"path": "a", "sha256": "abc"}}}}, "checkpoint.sha256"),
        ({"models": {"m": {"checkpoint": {"urls": ["gopher://x"]}}}}, "checkpoint.urls.0"),
        ({"models": {"m": {"checkpoint": {"path": "a", "version": 4}}}}, "checkpoint.version"),
        ({"models": {"../m": {"checkpoint": {"path": "a"}}}}, "../m"),
        ({"generate": {"prompts": [{"prompt": "a", "token_ids": [1]}]}}, "generate.prompts.0"),
        ({"generate": {"max_length": "32"}}, "generate.max_length = '32'"),
        ({"generate": {"engine": "warp"}}, "generate.engine"),
        ({"benchmark": {"batch_sizes": [0]}}, "benchmark.batch_sizes.0"),
        ({"sign": {"private_key": "private.pem"}}, "sign"),
        ({"sign": {"public_key": "public.pem"}}, "both `private_key` and `public_key`"),
    ],
)
def test_refused_with_the_path_of_the_key(values, named):
    with pytest.raises(ConfigError) as caught:
        load_config({"model": "m", "models": MODELS} | values)
    assert named in str(caught.value)


def test_a_list_of_models_keeps_its_order_and_drops_repeats():
    models = {name: MODELS["m"] for name in "abc"}
    assert load_config({"model": ["c", "a", "c"], "models": models}).names == ["c", "a"]
