"""config.yaml and the errors of a user's configuration."""

import re

import pytest
import yaml
from pydantic import BaseModel

from megaport.config.load import load_config
from megaport.config.model import (
    ArchitectureKeys,
    CheckpointKeys,
    Config,
    ConfigError,
    Model,
    Prompt,
)
from support.checkout import ROOT

TEXT = (ROOT / "config.yaml").read_text(encoding="utf-8")
WRITTEN = load_config(yaml.safe_load(TEXT))
MODELS = {"m": {"checkpoint": {"path": "m.pt"}}}


def test_config_yaml_writes_the_defaults_out():
    """Models and prompts have their home there alone."""
    bare = Config(model="austen-tiny", models=WRITTEN.models)
    prompts = {"prompts": WRITTEN.generate.prompts}
    assert bare.model_copy(update={"generate": bare.generate.model_copy(update=prompts)}) == WRITTEN
    written = yaml.safe_load(TEXT)
    for name, value in WRITTEN:
        assert not isinstance(value, BaseModel) or written[name].keys() == dict(value).keys()
    assert written.keys() == Config.model_fields.keys()


@pytest.mark.parametrize("section", [ArchitectureKeys, CheckpointKeys, Model, Prompt])
def test_every_key_below_models_and_prompts_is_explained(section: type[BaseModel]):
    explained = set(re.findall(r"^ *#  +(\w+): \S", TEXT, re.MULTILINE))
    assert section.model_fields.keys() - explained == set()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (
            {"models": {"m": {"checkpoint": {"path": "m.pt", "sha": "x"}}}},
            "models.m.checkpoint.sha",
        ),
        ({"model": "nobody"}, "nobody"),
        ({"model": []}, "`model` names nothing"),
        ({"models": {"m": {"checkpoint": {}}}}, "give `path` or `urls`"),
        ({"models": {"m": {"checkpoint": {"path": "a", "sha256": "abc"}}}}, "checkpoint.sha256"),
        ({"models": {"m": {"checkpoint": {"urls": ["gopher://x"]}}}}, "checkpoint.urls.0"),
        ({"models": {"m": {"checkpoint": {"path": "a", "version": 4}}}}, "checkpoint.version"),
        ({"models": {"run": {"checkpoint": {"path": "a"}}}}, "no model can have the name run"),
        ({"models": {"../m": {"checkpoint": {"path": "a"}}}}, "../m"),
        ({"generate": {"prompts": [{"prompt": "a", "token_ids": [1]}]}}, "generate.prompts.0"),
        ({"generate": {"max_length": "long"}}, "generate.max_length = 'long'"),
        ({"generate": {"engine": "warp"}}, "generate.engine"),
        ({"benchmark": {"batch_sizes": [0]}}, "benchmark.batch_sizes.0"),
    ],
)
def test_refused_with_the_path_of_the_key(values, named):
    with pytest.raises(ConfigError) as caught:
        load_config({"model": "m", "models": MODELS} | values)
    assert named in str(caught.value)


def test_a_list_of_models_keeps_its_order_and_drops_repeats():
    models = {name: MODELS["m"] for name in "abc"}
    assert load_config({"model": ["c", "a", "c"], "models": models}).names == ["c", "a"]


def test_a_path_is_taken_before_urls_as_a_configfile_cannot_take_them_away():
    checkpoint = {"path": "a", "urls": ["https://b"]}
    config = load_config({"model": "m", "models": {"m": {"checkpoint": checkpoint}}})
    assert config.models["m"].checkpoint.path == "a"
