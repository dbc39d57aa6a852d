"""Hazards, "Checkpoint pickle": what a pickle may name, and that nothing it names has an effect."""

import pytest

from megaport.checkpoint import names
from megaport.checkpoint.pickle import read_pickle
from megaport.checkpoint.records import BadPickleError, ForbiddenGlobalError, Record
from support.effects import no_effect
from support.payloads import PAYLOADS, split
from support.torchfiles import (
    EXTENSIONS,
    ROUTES,
    global_,
    number,
    pickle,
    raw,
    reduce,
    region,
    stack_global,
    text,
    tuple_of,
)


@pytest.mark.parametrize("path", PAYLOADS)
def test_code_refused_by_name_no_effect(path: str) -> None:
    module, name = split(path)
    for route, call in ROUTES.items():
        attack = pickle(call(module, name, text("touch /tmp/owned")), protocol=4)
        with no_effect(), pytest.raises(ForbiddenGlobalError) as refusal:
            read_pickle(region(attack))
        assert name in str(refusal.value), route


def test_what_later_pythons_removed_from_the_standard_library_is_still_refused() -> None:
    """PEP 594: a reader on Python 3.13 sees `telnetlib` as anybody's package."""
    removed = {"telnetlib", "cgi", "crypt", "nntplib", "imp", "asyncore", "distutils", "lib2to3"}
    assert removed < names.FORMER


@pytest.mark.parametrize("route", EXTENSIONS)
def test_extension_registry_codes_refused(route: str) -> None:
    with no_effect(), pytest.raises(ForbiddenGlobalError, match="extension registry code 1"):
        read_pickle(region(pickle(EXTENSIONS[route], protocol=4)))


def test_the_guard_itself_notices_an_effect() -> None:
    with pytest.raises(AssertionError, match="compile"), no_effect():
        compile("1", "x", "eval")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("collections", "OrderedDict.__init__.__globals__"),
        ("collections", "OrderedDict.fromkeys"),
        ("argparse", "Namespace.__init__"),
        ("argparse", "_sys.modules"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch._utils", "warnings.sys.modules"),
        ("torch", "storage.os.system"),
        ("numpy.core.multiarray", "os.system"),
        ("megatron.core.enums", "ModelType.__class__.__subclasses__"),
        ("megatron.core.enums", "enum.sys.modules"),
        ("collections.OrderedDict", "os"),
    ],
)
@pytest.mark.parametrize("reference", [global_, stack_global])
def test_dotted_names_inside_an_allowed_module_refused(module, name, reference) -> None:
    with pytest.raises(ForbiddenGlobalError):
        read_pickle(region(pickle(reference(module, name), protocol=4)))


@pytest.mark.parametrize("name", ["", "a b", "x\u2024y", "é", "a;b", "1x", "a.", ".a", "x" * 400])
def test_names_that_are_no_identifiers_refused(name: str) -> None:
    for module, attribute in ((name, "X"), ("megatron", name)):
        with pytest.raises(BadPickleError):
            read_pickle(region(pickle(stack_global(module, attribute), protocol=4)))


def test_build_on_allowed_objects_with_hostile_state_is_inert() -> None:
    """The state that would replace a class's methods or dictionary is only kept."""
    hostile = b"}" + text("__class__") + global_("torch", "float32") + b"s"
    with no_effect():
        value = read_pickle(region(pickle(reduce(global_("argparse", "Namespace")), hostile, b"b")))
    assert isinstance(value, Record)
    assert type(value) is Record
    assert list(value.state) == ["__class__"]
    ordered = reduce(global_("collections", "OrderedDict"))
    state = b"}" + text("keys") + text("x") + b"s" + b"b"
    assert read_pickle(region(pickle(ordered, state))) == {}


@pytest.mark.parametrize(
    "target",
    [text("x"), number(1), b"]", b")", b"N", global_("torch", "float32"), raw(b"x")],
    ids=["text", "int", "list", "tuple", "None", "class", "bytes"],
)
def test_build_on_plain_values_and_classes_refused(target: bytes) -> None:
    with pytest.raises(BadPickleError, match="state for"):
        read_pickle(region(pickle(target, b"}", b"b")))


def test_build_twice_refused() -> None:
    made = reduce(global_("argparse", "Namespace"))
    with pytest.raises(BadPickleError, match="once"):
        read_pickle(region(pickle(made, b"}", b"b", b"}", b"b")))


@pytest.mark.parametrize(
    "call",
    [
        reduce(text("os.system"), text("id")),
        reduce(reduce(global_("megatron.x", "Maker")), text("id")),
        reduce(b"N", text("id")),
        global_("megatron.x", "Maker") + text("no tuple") + b"R",
        global_("megatron.x", "Maker") + b"N\x81",
    ],
    ids=["text", "record", "None", "text args", "None args"],
)
def test_calls_of_anything_but_a_named_class_refused(call: bytes) -> None:
    with pytest.raises(BadPickleError, match="a call"):
        read_pickle(region(pickle(call)))


@pytest.mark.parametrize(
    "path",
    [
        "megatron.model.enums.ModelType",
        "megatron.core.enums.ModelType",
        "megatron.core.transformer.enums.AttnBackend",
        "megatron.core.rerun_state_machine.RerunMode",
        "megatron.enums.PositionEmbeddingType",
        "fp16.loss_scaler.LossScaler",
        "megatron.fp16.loss_scaler.DynamicLossScaler",
        "deepspeed.runtime.fp16.loss_scaler.LossScaler",
        "deepspeed.runtime.zero.config.ZeroStageEnum",
        "transformer_engine.common.recipe.DelayedScaling",
        "some_fork.arguments.ThingNobodyKnows",
        "some_fork.config.dotdict",
        "__main__.LocalEnum",
        "numpy.random.mtrand.RandomState",
        "torch.distributed.checkpoint.metadata.TensorProperties",
        "_io.BytesIO",
        "datetime.timedelta",
        "types.SimpleNamespace",
    ],
)
def test_unknown_classes_read_as_inert_records(path: str) -> None:
    module, _, name = path.rpartition(".")
    for route, call in ROUTES.items():
        made = region(pickle(call(module, name, number(1)), protocol=4))
        with no_effect():
            value = read_pickle(made)
        assert isinstance(value, Record), route
        assert (value.name, value.args) == (path, (1,))


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_paths_are_data_whichever_python_wrote_them(module: str) -> None:
    made = reduce(global_(module, "PosixPath"), text("/data"), text("model"))
    assert read_pickle(region(pickle(made))) == "/data/model"
    with pytest.raises(ForbiddenGlobalError):
        read_pickle(region(pickle(reduce(global_(module, "os")))))


def test_nested_classes_of_a_fork_read_as_inert_records() -> None:
    call = reduce(stack_global("some_fork.enums", "Outer.Inner"), number(3))
    assert read_pickle(region(pickle(call, protocol=4))).name == "some_fork.enums.Outer.Inner"


def test_torch_functions_may_be_mentioned_but_not_called() -> None:
    mention = global_("torch.nn.functional", "gelu")
    assert read_pickle(region(pickle(mention))).name == "torch.nn.functional.gelu"
    with pytest.raises(ForbiddenGlobalError, match="gelu"):
        read_pickle(region(pickle(reduce(mention, number(1)))))


def test_subclasses_of_containers_keep_their_contents() -> None:
    listed = reduce(global_("some_fork", "Names")) + b"(" + text("a") + text("b") + b"e"
    assert read_pickle(region(pickle(listed))).contents == ["a", "b"]
    keyed = reduce(global_("some_fork", "Table")) + text("a") + number(1) + b"s"
    assert read_pickle(region(pickle(keyed))).contents == {"a": 1}
    with pytest.raises(BadPickleError, match="elements for"):
        read_pickle(region(pickle(listed + text("a") + number(1) + b"s")))


def test_persistent_id_not_a_storage_refused_in_a_bare_pickle() -> None:
    with pytest.raises(BadPickleError, match="storage"):
        read_pickle(region(pickle(tuple_of(text("storage")), b"Q")))
