"""A checkpoint of one's own in one line: --config checkpoint=PATH n_head=16."""

import re

import pytest

from megaport.config.load import load_config
from megaport.config.model import ArchitectureKeys, CheckpointKeys, Config, ConfigError, Model
from megaport.config.shorthand import PLACES, SOURCE, name_of

LISTED = {
    "model": "listed",
    "models": {
        "listed": {"checkpoint": {"path": "m.pt"}, "architecture": {"n_head": 4, "n_positions": 8}},
        "other": {"checkpoint": {"path": "o.pt"}},
    },
}


def own(**said: object) -> tuple[str, Model]:
    config = load_config(LISTED | said, "listed")
    (name,) = config.names
    return name, config.models[name]


def test_a_path_makes_a_model_named_after_the_file():
    name, model = own(checkpoint="/data/model_optim_rng.pt", n_head=16, version=1, dtype="float16")
    assert re.fullmatch(r"model_optim_rng-[0-9a-f]{6}", name)
    assert model.checkpoint.path == "/data/model_optim_rng.pt"
    assert model.checkpoint.version == 1
    assert model.architecture == ArchitectureKeys(n_head=16)
    assert model.dtype == "float16"


def test_a_url_makes_one_too_and_its_secrets_do_not_name_it():
    name, model = own(checkpoint="https://me:pass@host/a/gpt.zip?token=secret")
    assert model.checkpoint.urls == ["https://me:pass@host/a/gpt.zip?token=secret"]
    assert name == own(checkpoint="https://you:word@host/a/gpt.zip?token=other")[0]
    assert name.startswith("gpt-")


def test_files_of_one_name_make_models_of_two():
    assert own(checkpoint="/a/model.pt")[0] != own(checkpoint="/b/model.pt")[0]
    assert own(checkpoint="/a/model.pt")[0] == own(checkpoint="/a/model.pt")[0]


@pytest.mark.parametrize(
    ("path", "readable"),
    [
        ("/data/my model (1).pt", "my-model-1"),
        ("/data/иван.pt", "checkpoint"),
        ("/data/gpt-ü.zip", "gpt"),
        ("/data/iter_0001000/", "iter_0001000"),
        ("/data/gpt-v1.1", "gpt-v1.1"),
        ("/data/gpt.v1.tar.GZ", "gpt.v1"),
        ("/data/" + "long" * 60, "long" * 16),
        ("/", "checkpoint"),
        ("..", "checkpoint"),
        ("/data/\udcff.pt", "checkpoint"),
    ],
)
def test_names_are_safe_and_readable(path, readable):
    assert re.fullmatch(re.escape(readable) + "-[0-9a-f]{6}", name_of({"path": path}))


def test_a_name_of_ones_own():
    assert own(checkpoint="/a/model.pt", model="mine")[0] == "mine"
    assert own(checkpoint="/a/model.pt", model="listed")[0].startswith("model-")


@pytest.mark.parametrize("model", [["mine"], ["listed", "other"]], ids=str)
def test_a_checkpoint_is_not_of_a_list_of_models(model):
    with pytest.raises(ConfigError, match="expected one name for the model"):
        own(checkpoint="/a/model.pt", model=model)


def test_a_model_there_is_may_be_read_from_elsewhere():
    digest = "0" * 64
    other = {"checkpoint": {"urls": ["https://b"], "sha256": digest}, "golden": "g.json"}
    said = {"models": LISTED["models"] | {"other": other}}  # type: ignore[operator]
    name, model = own(checkpoint="/a/model.pt", model="other", **said)
    assert name == "other"
    assert model.checkpoint == CheckpointKeys(path="/a/model.pt", sha256=digest)
    assert (model.golden, model.tokenizer) == ("g.json", "gpt2")


def test_the_working_directory_names_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert own(checkpoint="m.pt")[0] == own(checkpoint=str(tmp_path / "m.pt"))[0]


def test_home_is_found(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    tilde, variable = own(checkpoint="~/m.pt"), own(checkpoint="$HOME/m.pt")
    assert tilde == variable
    assert tilde[1].checkpoint.path == "/home/me/m.pt"
    config = load_config(LISTED | {"store": "~/s", "store_below": ["$HOME/t"]})
    assert (config.store, config.store_below) == ("/home/me/s", ["/home/me/t"])


def test_without_a_checkpoint_it_changes_the_models_that_are_built():
    config = load_config(LISTED | {"n_head": 2, "dtype": "float32"})
    assert config.models["listed"].architecture == ArchitectureKeys(n_head=2, n_positions=8)
    assert config.models["listed"].dtype == "float32"
    assert config.models["other"] == load_config(LISTED).models["other"]
    both = load_config(LISTED | {"model": ["listed", "other"], "n_head": 2})
    assert [model.architecture.n_head for model in both.models.values()] == [2, 2]


def test_text_is_read_as_what_belongs_there():
    name, model = own(
        checkpoint={"path": "m.pt", "version": "2"},
        n_head="16",
        layer_norm_epsilon="1e-6",
        tie_word_embeddings="true",
        tokenizer="null",
        golden="null",
        prompts="[{token_ids: [1, 2], do_sample: true}]",
    )
    assert model.checkpoint.model_dump() == {
        "path": "m.pt", "urls": [], "sha256": None, "version": 2
    }  # fmt: skip
    assert model.architecture == ArchitectureKeys(
        n_head=16, layer_norm_epsilon=1e-6, tie_word_embeddings=True
    )
    assert (model.tokenizer, model.golden) == (None, None)
    assert model.prompts is not None
    assert model.prompts[0].token_ids == [1, 2]
    assert name.startswith("m-")


def test_nested_text_is_read_too():
    config = load_config(
        LISTED | {"benchmark": {"batch_sizes": ["1", "8"]}, "export": "{tensor_parallel: 2}"}
    )
    assert config.benchmark.batch_sizes == [1, 8]
    assert config.export.tensor_parallel == 2


@pytest.mark.parametrize(
    "said", [{"n_head": "16.5"}, {"n_head": 16.0}, {"n_head": "true"}, {"n_head": "two"}]
)
def test_nothing_is_bent_to_fit(said):
    with pytest.raises(ConfigError, match=r"models\.listed\.architecture\.n_head"):
        load_config(LISTED | said)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"modle": "m"}, "modle is not a key the workflow knows (did you mean model?)"),
        ({"nhead": 16}, "(did you mean n_head?)"),
        ({"generate": {"max_lenght": 3}}, "(did you mean max_length?)"),
        ({"max_length": 3}, "(did you mean generate.max_length?)"),
        (
            {"models": {"listed": {"checkpoint": {"path": "m"}, "n_head": 3}}},
            "models.listed.n_head is not a key the workflow knows "
            "(did you mean architecture.n_head?)",
        ),
        (
            {"models": {"golden": {"checkpoint": {"path": "m", "sha": 3}}}, "model": "golden"},
            "models.golden.checkpoint.sha is not a key the workflow knows (did you mean sha256?)",
        ),
        ({"quux": 1}, "quux is not a key the workflow knows; known here: model, store, "),
    ],
)
def test_an_unknown_key_says_which_is_near_and_lists_the_rest(said, meant):
    with pytest.raises(ConfigError) as caught:
        load_config(LISTED | said)
    assert meant in str(caught.value)


def test_the_rest_is_all_that_is_known_there():
    with pytest.raises(ConfigError) as caught:
        load_config(LISTED | {"quux": 1})
    listed = re.search(r"known here: ([^;]*);", str(caught.value))
    assert listed is not None
    assert listed[1].split(", ") == [*Config.model_fields, SOURCE, *PLACES]


def test_shorthand_is_no_key_of_the_configuration():
    assert not {SOURCE, *PLACES} & Config.model_fields.keys()


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"models": "x", "n_head": 3}, "models = 'x'"),
        ({"model": 3, "n_head": 3}, r"`model` names \['3'\]"),
        ({"checkpoint": None}, r"models\.listed\.checkpoint = None"),
        ({"architecture": "wide"}, r"models\.listed\.architecture = 'wide'"),
    ],
)
def test_what_is_of_the_wrong_type_is_refused_by_its_path(said, named):
    with pytest.raises(ConfigError, match=named):
        load_config(LISTED | said)
